"""Which environment a model asks for: by EXECUTION_ENV_PATH, or by a list of requirements beside its configuration."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path

from pyserver.errors import ServerError, invalid

PARAMETER = "EXECUTION_ENV_PATH"
MODEL_DIRECTORY = "$$TRITON_MODEL_DIRECTORY"
REQUIREMENTS = "requirements.txt"
ENVIRONMENT_FILES = ("environment.yml", "environment.yaml")
PYTHON_VERSION = ".python-version"


class Origin(enum.Enum):
    """What an environment is made from."""

    FOLDER = "folder"
    ARCHIVE = "archive"
    REQUIREMENTS = "requirements"
    CONDA = "conda"


@dataclass(frozen=True, slots=True)
class Source:
    """Where an environment comes from; `python` is the version, or the interpreter, that requirements ask for."""

    origin: Origin
    path: Path
    python: str = ""

    def __str__(self) -> str:
        return f"environment '{self.path}'"


def named(model: str, folder: Path, value: str) -> Source:
    """The source that EXECUTION_ENV_PATH = `value` names for the model in `folder`; ServerError if there is none."""
    if value.startswith(MODEL_DIRECTORY):
        inside = os.path.normpath(value[len(MODEL_DIRECTORY) :].lstrip("/"))
        if inside == ".." or inside.startswith("../"):
            raise invalid(f"model '{model}': {PARAMETER} '{value}' leads out of the model's folder {folder}")
        path = folder / inside
    elif os.path.isabs(value):
        path = Path(value)
    else:
        # Triton takes a relative path from wherever the server was started: a model finds another environment, or none.
        raise invalid(
            f"model '{model}': {PARAMETER} '{value}' is a relative path, expected an absolute one or one that begins"
            f" with {MODEL_DIRECTORY}"
        )
    return existing(path, f"model '{model}': ")


def existing(path: Path, prefix: str = "") -> Source:
    """The folder or the archive at `path`; ServerError (INVALID_ARG) if there is neither."""
    try:
        found = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise _missing(path, prefix, error) from None
    if found.is_dir():
        # Not resolved: a folder is used as it is, and may be found through a link on purpose.
        return Source(Origin.FOLDER, path.absolute())
    if not found.is_file():
        raise invalid(f"{prefix}environment '{path}' is neither a folder nor a file")
    return Source(Origin.ARCHIVE, found)


def beside(folder: Path) -> Source | None:
    """What the model's folder itself lists as its requirements, if it does."""
    return next(filter(None, (listed(folder / name) for name in (*ENVIRONMENT_FILES, REQUIREMENTS))), None)


def listed(path: Path) -> Source | None:
    """What `path` lists as requirements, if its name says that it does."""
    if path.name in ENVIRONMENT_FILES and path.is_file():
        return Source(Origin.CONDA, path.absolute())
    if path.name == REQUIREMENTS and path.is_file():
        return Source(Origin.REQUIREMENTS, path.absolute(), _python(path.parent / PYTHON_VERSION))
    return None


def _python(file: Path) -> str:
    """The first line of a .python-version file, as uv and pyenv have it; "" for none."""
    try:
        lines = file.read_text().split()
    except OSError:
        return ""
    return lines[0] if lines else ""


def _missing(path: Path, prefix: str, error: Exception) -> ServerError:
    why = getattr(error, "strerror", None) or error
    return invalid(f"{prefix}Failed to get the canonical path for {path}: {why} ({PARAMETER})")
