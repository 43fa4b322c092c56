"""How a field of the settings is a flag of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

MEBIBYTE = 1 << 20


def flag(default: Any, help: str, group: str, metavar: str = "", choices: Sequence[str] = (), more: str = "") -> Any:
    """A field that is the flag `--its-name`; a tuple's flag may be given several times.

    `help` fits on one line; `more` is for the table in the README.
    """
    about = {"help": help, "more": more, "group": group, "metavar": metavar, "choices": choices}
    return field(default=default, metadata=about)
