"""Restricted APIs: kinds of operations that are answered only with a header that the operator has chosen. No I/O.

What a request asks for has one kind, whichever path, transport or form it comes by. Every route and every RPC names
its own: one that doesn't can't be served, so that nothing is left open by being forgotten.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pyserver.errors import ErrorCode, ServerError, invalid

KINDS = (
    "health", "metadata", "inference", "shared-memory", "model-config", "model-repository", "statistics", "trace",
    "logging",
)  # fmt: skip
INFERENCE = "inference"
GRPC_PREFIX = "triton-grpc-protocol-"


class RestrictedError(ServerError):
    """The request lacks the header: 403 over HTTP, UNAVAILABLE over gRPC, as in Triton."""

    def __init__(self, what: str, header: str) -> None:
        super().__init__(ErrorCode.UNAVAILABLE, f"This {what} is restricted, expecting header '{header}'")


class Rule(NamedTuple):
    """The header that a request has to have, by name, and its value."""

    header: str
    value: str


class Restrictions:
    """Which kinds are restricted, for one transport. `what` is what Triton calls an operation of it."""

    def __init__(self, rules: Mapping[str, Rule], what: str = "API") -> None:
        self._rules = dict(rules)
        self._what = what

    def restricts(self, kind: str) -> bool:
        """Whether operations of this kind need a header."""
        return kind in self._rules

    def check(self, kind: str, header: Callable[[str], str | None]) -> None:
        """Raise the RestrictedError of a request of this kind without its header. `header` finds a value by name."""
        rule = self._rules.get(kind)
        if rule is None:
            return
        given = header(rule.header)
        # In constant time: how long it takes tells nothing of how much of a guess was right.
        if given is None or not hmac.compare_digest(given.encode("utf-8", "replace"), rule.value.encode()):
            raise RestrictedError(self._what, rule.header)


def parse_http(texts: Sequence[str]) -> Restrictions:
    """What `--http-restricted-api`, given any number of times, says. ServerError (INVALID_ARG) for what is wrong."""
    return Restrictions(_parse("--http-restricted-api", texts, ""))


def parse_grpc(texts: Sequence[str]) -> Restrictions:
    """What `--grpc-restricted-protocol` says; the metadata has Triton's prefix before the key."""
    return Restrictions(_parse("--grpc-restricted-protocol", texts, GRPC_PREFIX), "protocol")


def _parse(flag: str, texts: Sequence[str], prefix: str) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for text in texts:
        kinds, colon, pair = text.partition(":")
        key, equals, value = pair.partition("=")
        if not colon or not equals or not key or not value:
            raise invalid(f"{flag}: got '{kinds}', expected KIND,...:KEY=VALUE")  # without the secret
        for kind in kinds.split(","):
            if kind not in KINDS:
                raise invalid(f"{flag}: got kind '{kind}', expected one of {', '.join(KINDS)}")
            if kind in rules:
                raise invalid(f"{flag}: kind '{kind}' is there twice, expected once")
            rules[kind] = Rule((prefix + key).lower() if prefix else key, value)
    return rules
