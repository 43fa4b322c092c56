"""Which models there are: the folders of one or more model repositories.

Every folder in a repository is a model, except hidden ones (Triton takes those too, to its users' surprise). A folder
may be a symbolic link as long as it leads into one of the repositories; the repositories themselves may be links.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyserver.errors import ServerError, invalid, not_found

# ".." cannot get through: names become parts of paths.
_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_NO_MODELS = {"__pycache__", "lost+found"}


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

    def versions(self) -> list[int]:
        """The numbers of its version folders, ascending: names that are integers above 0 without leading zeros.

        ServerError (INVALID_ARG) if the folder is gone or can't be read.
        """
        try:
            return sorted(int(name) for name in _folders(self.path) if _VERSION.fullmatch(name))
        except OSError as error:
            raise invalid(f"model '{self.name}': folder '{self.path}' can't be read: {error.strerror}") from None

    def check(self) -> None:
        """Raise ServerError (INVALID_ARG) if it can't be a model."""
        if self.error:
            raise invalid(self.error)


class ModelRepository:
    """The models of several repositories, as `scan` last saw them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = [Path(path) for path in paths]
        self._folders: dict[str, ModelFolder] = {}

    @property
    def names(self) -> set[str]:
        """The names of all models, those that can't be served included."""
        return set(self._folders)

    def folders(self) -> dict[str, ModelFolder]:
        """All models by name, those that can't be served included."""
        return dict(self._folders)

    def find(self, name: str) -> ModelFolder:
        """Return the folder of a model. ServerError NOT_FOUND if there is none, INVALID_ARG if it can't be served."""
        folder = self._folders.get(name)
        if folder is None:
            searched = ", ".join(map(str, self.paths)) or "no repository"
            raise not_found(f"failed to load '{name}', no such model in the repository (searched: {searched})")
        folder.check()
        return folder

    def scan(self) -> dict[str, ModelFolder]:
        """Look again, and return `folders()`. ServerError (INVALID_ARG) if a repository is no readable folder."""
        roots = [path.resolve() for path in self.paths]
        found: dict[str, ModelFolder] = {}
        for path in self.paths:
            for name in _candidates(path):
                folder = ModelFolder(name, path / name, path, _trouble(name, path / name, roots))
                found[name] = _twice(found[name], folder) if name in found else folder
        self._folders = found
        return dict(found)


def _candidates(path: Path) -> list[str]:
    try:
        return sorted(name for name in _folders(path) if not name.startswith(".") and name not in _NO_MODELS)
    except OSError as error:
        raise invalid(f"model repository '{path}' can't be read: {error.strerror}") from None


def _folders(path: Path) -> Iterable[str]:
    with os.scandir(path) as entries:
        return [entry.name for entry in entries if entry.is_dir()]


def _trouble(name: str, path: Path, roots: list[Path]) -> str:
    try:
        check_name(name)
    except ServerError as error:
        return f"folder '{path}': {error.message}"
    target = path.resolve()
    if not any(target.is_relative_to(root) for root in roots):
        return f"model '{name}': '{path}' is a link to '{target}', expected a target inside a model repository"
    return ""


def _twice(first: ModelFolder, second: ModelFolder) -> ModelFolder:
    if first.repository == second.repository:
        return first  # The same repository was given twice.
    error = (
        f"model '{first.name}' is in more than one model repository: '{first.path}' and '{second.path}';"
        " expected every name once"
    )
    return ModelFolder(first.name, first.path, first.repository, error)
