"""Header forwarding: request headers that models get as parameters. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pyserver.errors import invalid

RESERVED = frozenset(
    ("sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers", "binary_data_output")
)
RESERVED_PREFIX = "triton_"


class Forwarding:
    """Takes the headers whose names match a pattern, anywhere in the name."""

    def __init__(self, pattern: str) -> None:
        """ServerError (INVALID_ARG) for what is no regular expression."""
        try:
            self._matches = re.compile(pattern).search
        except re.error as error:
            raise invalid(f"'{pattern}' is no pattern for headers to forward: {error}") from None

    def parameters(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        """The parameters that `headers` (name, value) become, names as sent; of two of one name the last holds.

        ServerError (INVALID_ARG) for one that matches and has the name of a parameter of the protocol's own.
        """
        found: dict[str, str] = {}
        for name, value in headers:
            if self._matches(name):
                if name in RESERVED or name.startswith(RESERVED_PREFIX):
                    raise invalid(f"Header '{name}' is reserved for Triton usage and cannot be forwarded.")
                found[name] = value
        return found


def forwarding(pattern: str) -> Forwarding | None:
    """What a `--http-header-forward-pattern` or `--grpc-header-forward-pattern` asks for; None for the empty one."""
    return Forwarding(pattern) if pattern else None
