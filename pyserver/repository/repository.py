"""Which models there are: the folders of one or more model repositories.

Every folder in a repository is a model, except hidden ones (Triton takes those too, to its users' surprise). A folder
may be a symbolic link as long as it leads into one of the repositories; the repositories themselves may be links.

Where a `model-settings.json` lies, at any depth, that is a version of an MLServer model. In a repository that has any,
or a `settings.json`, a folder without one is a model only if it shows that it is Triton's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pyserver.errors import ServerError, invalid, not_found
from pyserver.repository.folder import ModelFolder, check_name, folders
from pyserver.repository.mlserver import files as mlserver_files

_NO_MODELS = {"__pycache__", "lost+found"}


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
            for folder in _models(path):
                checked = replace(folder, error=folder.error or _trouble(folder, roots))
                name = folder.name
                found[name] = _twice(found[name], checked) if name in found else checked
        self._folders = found
        return dict(found)


def _models(path: Path) -> Iterable[ModelFolder]:
    candidates = _candidates(path)
    settings = mlserver_files.find(path, [name for name in candidates if not mlserver_files.is_triton(path / name)])
    theirs: list[ModelFolder] = []
    if settings or mlserver_files.may_have_models(path, candidates):
        from pyserver.repository.mlserver import folders as mlserver  # takes pydantic, which few repositories need

        # A class of the user's own may list models that lie anywhere: whatever has settings is not Triton's.
        claimed = {file.relative_to(path).parts[0] for file in settings}
        candidates = [
            name for name in candidates if name not in claimed and mlserver_files.looks_like_triton(path / name)
        ]
        theirs = mlserver.models(path, settings, alone=not candidates)
    return [*theirs, *(ModelFolder(name, path / name, path) for name in candidates)]


def _candidates(path: Path) -> list[str]:
    try:
        return sorted(name for name in folders(path) if not name.startswith(".") and name not in _NO_MODELS)
    except OSError as error:
        raise invalid(f"model repository '{path}' can't be read: {error.strerror}") from None


def _trouble(folder: ModelFolder, roots: list[Path]) -> str:
    try:
        check_name(folder.name)
    except ServerError as error:
        return f"folder '{folder.path}': {error.message}"
    target = folder.path.resolve()
    if not any(target.is_relative_to(root) for root in roots):
        return (
            f"model '{folder.name}': '{folder.path}' is a link to '{target}',"
            " expected a target inside a model repository"
        )
    return ""


def _twice(first: ModelFolder, second: ModelFolder) -> ModelFolder:
    if first == second:
        return first  # The same repository was given twice.
    error = (
        f"model '{first.name}' is in more than one model repository: '{first.path}' and '{second.path}';"
        " expected every name once"
    )
    return ModelFolder(first.name, first.path, first.repository, error)
