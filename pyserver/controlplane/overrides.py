"""What a load request brings along: a configuration, and the model's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyserver.errors import invalid
from pyserver.repository.uploads import FILE_PREFIX


@dataclass(frozen=True, slots=True)
class Override:
    """A configuration (JSON text), and files (by their paths below the model's folder; none: the repository's)."""

    config: str
    files: Mapping[str, bytes] = field(default_factory=dict)


def parse(name: str, parameters: Mapping[str, Any], most: int) -> Override | None:
    """The override in the parameters of a load of model `name`, None where there is none.

    ServerError (INVALID_ARG) for unknown keys, values of the wrong type, files without a configuration, and files of
    more than `most` bytes together.
    """
    files: dict[str, bytes] = {}
    for key, value in parameters.items():
        if key.startswith(FILE_PREFIX):
            files[key.removeprefix(FILE_PREFIX)] = _content(name, key, value)
        elif key != "config":
            raise invalid(f"unrecognized load parameter '{key[:64]}' of the load of model '{name}', expected 'config'")
    config = parameters.get("config")
    if config is None and not files:
        return None
    if not isinstance(config, str):
        raise invalid(f"failed to load '{name}': 'file:' parameters need a 'config' parameter, JSON text, beside them")
    total = sum(map(len, files.values()))
    if total > most:
        raise invalid(
            f"failed to load '{name}': its files have {total} bytes, the most is {most}. Use --max-load-size."
        )
    return Override(config, files)


def _content(name: str, key: str, value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise invalid(f"failed to load '{name}': '{key[:64]}' is a {type(value).__name__}, expected the file's bytes")
    return bytes(value)
