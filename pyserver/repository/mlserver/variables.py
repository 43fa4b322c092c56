"""`MLSERVER_*` variables: those of the environment, and behind them those of a `.env` file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

DOTENV = ".env"
SERVER = "MLSERVER_"
MODEL = "MLSERVER_MODEL_"

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""(?P<quote>['"])(?P<text>.*?)(?<!\\)(?P=quote)\s*(?:#.*)?""")


class Variables:
    """Values by name; the case of names does not matter, and the environment counts for more than the file."""

    def __init__(self, environment: Mapping[str, str], file: Mapping[str, str] | None = None) -> None:
        self._values = {name.lower(): value for name, value in (*(file or {}).items(), *environment.items())}

    @classmethod
    def of_process(cls) -> Variables:
        """Those of this process, and of the `.env` in its working directory."""
        return cls(os.environ, read(Path.cwd() / DOTENV))

    def get(self, name: str) -> str | None:
        """The value of `name`, None if there is none."""
        return self._values.get(name.lower())


def read(path: Path) -> dict[str, str]:
    """What a `.env` file says; nothing if it can't be read."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}


def parse(text: str) -> dict[str, str]:
    """The `NAME=VALUE` lines of a text; quotes around a value are taken off, comments and all else are passed over."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            found[match[1]] = _value(match[2].strip())
    return found


def _value(text: str) -> str:
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        value = quoted["text"]
        return value.replace('\\"', '"').replace("\\n", "\n") if quoted["quote"] == '"' else value
    return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip()
