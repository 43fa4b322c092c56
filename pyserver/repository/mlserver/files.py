"""Where MLServer's files lie in a repository, told from names alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pyserver.repository.mlserver.variables import MODEL, Variables

SETTINGS = "settings.json"
MODEL_SETTINGS = "model-settings.json"

_TRITON = "config.pbtxt"
_PASSED_OVER = {"__pycache__", "node_modules", "site-packages"}


def find(repository: Path, candidates: Iterable[str]) -> list[Path]:
    """Every `model-settings.json` in a repository and, at any depth, in those of its folders that `candidates` names.

    Hidden folders are passed over, as MLServer does, and environments' packages; links to folders are followed once.
    """
    found = [repository / MODEL_SETTINGS] if (repository / MODEL_SETTINGS).is_file() else []
    for name in candidates:
        found += _below(repository / name)
    return found


def is_triton(folder: Path) -> bool:
    """Whether a folder says that it is a Triton model, whatever else lies in it."""
    return (folder / _TRITON).is_file()


def looks_like_triton(folder: Path) -> bool:
    """Whether a folder shows that it is a Triton model: by its configuration, or by the folder of a version."""
    try:
        return is_triton(folder) or any(name.isdecimal() and (folder / name).is_dir() for name in os.listdir(folder))
    except OSError:
        return False


def may_have_models(repository: Path, candidates: Sequence[str]) -> bool:
    """Whether a repository without any `model-settings.json` may have MLServer's models all the same.

    By a `settings.json` (which may name a repository class), or by variables that describe a model.
    """
    if (repository / SETTINGS).is_file():
        return True
    return not any(looks_like_triton(repository / name) for name in candidates) and describes_model()


def describes_model() -> bool:
    """Whether variables describe a model, or a repository class that does."""
    given = Variables.of_process()
    return any(given.get(f"{MODEL}{name}") is not None for name in ("IMPLEMENTATION", "REPOSITORY_IMPLEMENTATION"))


def _below(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for path, names, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(path)) in seen:
            names.clear()
            continue
        seen.add(real)
        if MODEL_SETTINGS in files:
            yield Path(path, MODEL_SETTINGS)
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in _PASSED_OVER)
