"""One folder that should hold a model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pyserver.errors import invalid
from pyserver.repository import fingerprint
from pyserver.repository.fingerprint import Fingerprint

# ".." cannot get through: names become parts of paths.
_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def check_name(name: str) -> None:
    """Raise ServerError (INVALID_ARG) unless `name` may be the name of a model."""
    if not _NAME.fullmatch(name):
        raise invalid(
            f"model name {name!r} is not allowed: expected at most 128 ASCII letters, digits, '_', '-' or single '.',"
            " the first a letter, a digit or '_'"
        )


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that should hold a model; `error` says why it can't be one, "" if nothing is known against it."""

    name: str
    path: Path
    repository: Path
    error: str = ""

    of_mlserver: ClassVar[bool] = False
    """Whether MLServer's settings describe it, and not a config.pbtxt: then it is a `MlserverFolder`."""

    def versions(self) -> list[int]:
        """The numbers of its version folders, ascending: names that are integers above 0 without leading zeros.

        ServerError (INVALID_ARG) if the folder is gone or can't be read.
        """
        try:
            return sorted(int(name) for name in folders(self.path) if _VERSION.fullmatch(name))
        except OSError as error:
            raise invalid(f"model '{self.name}': folder '{self.path}' can't be read: {error.strerror}") from None

    def check(self) -> None:
        """Raise ServerError (INVALID_ARG) if it can't be a model."""
        if self.error:
            raise invalid(self.error)

    def version_path(self, version: int) -> Path:
        """The folder of a version."""
        return self.path / str(version)

    @property
    def labels(self) -> Mapping[str, int]:
        """What clients call the versions, where that is not their number; empty where it is."""
        return {}

    def fingerprint(self) -> Fingerprint:
        """What its files look like now."""
        return fingerprint.take(self.path)


def folders(path: Path) -> Iterable[str]:
    """The names of the folders, and of the links to folders, in a folder; OSError if it can't be read."""
    with os.scandir(path) as entries:
        return [entry.name for entry in entries if entry.is_dir()]
