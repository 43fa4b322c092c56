"""The text form of a configuration, config.pbtxt, with errors that say where they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyserver.errors import ServerError, invalid
from pyserver.proto import model_config, pool

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig

_POSITION = re.compile(r"\A(\d+):(\d+) : ")
_NO_FIELD = re.compile(r'Message type "(?P<type>[\w.]+)" has no field named "(?P<name>\w+)"')
_NO_VALUE = re.compile(r'Enum type "(?P<type>[\w.]+)" has no value named (?P<name>\w+)')
_SHOWN = 100


def parse(text: str, path: Path | str) -> ModelConfig:
    """Read a configuration; `path` is only for messages.

    ServerError (INVALID_ARG) for a syntax error, an unknown field or a wrong value: `path:line:column`, what is wrong,
    the name that may have been meant, and the line.
    """
    from google.protobuf import text_format

    config = model_config.ModelConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise _located(str(error), text, path) from None
    return config


def read(path: Path) -> ModelConfig:
    """Read the file `path`; ServerError (INVALID_ARG) as for `parse`, and if it can't be read or is no UTF-8."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise invalid(f"failed to read text proto from {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise invalid(f"failed to read text proto from {path}:{line}: byte {error.start} is not UTF-8") from None
    return parse(text, path)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` for the known name that is most like `name`, "" if none is."""
    import difflib

    folded = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), folded, n=1)
    return f", did you mean '{folded[matches[0]]}'?" if matches else ""


def _located(message: str, text: str, path: Path | str) -> ServerError:
    found = _POSITION.match(message)
    if found is None:
        return invalid(f"failed to read text proto from {path}: {message}")
    row, column = int(found[1]), int(found[2])
    lines = text.splitlines()
    line = lines[row - 1] if row <= len(lines) else ""
    what = message[found.end() :].removeprefix(f"{line!r}: ").removeprefix(f"'{line}': ").removeprefix("'': ")
    shown = f"\n  {line.strip()[:_SHOWN]}" if line.strip() else " (at the end of the file)"
    return invalid(f"failed to read text proto from {path}:{row}:{column}: {_plain(what)}{shown}")


def _plain(what: str) -> str:
    """Say an unknown name with the one that may have been meant."""
    if found := _NO_FIELD.search(what):
        fields: Any = pool.pool().FindMessageTypeByName(found["type"]).fields_by_name
        return f"'{_short(found['type'])}' has no field '{found['name']}'{nearest(found['name'], fields)}"
    if found := _NO_VALUE.search(what):
        values: Any = pool.pool().FindEnumTypeByName(found["type"]).values_by_name
        return f"'{_short(found['type'])}' has no value '{found['name']}'{nearest(found['name'], values)}"
    return what


def _short(type_name: str) -> str:
    return type_name.removeprefix("inference.")
