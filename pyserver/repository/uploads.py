"""Models whose files came with a load request: each in a fresh folder that only this user can look into."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pyserver.errors import invalid
from pyserver.repository.folder import ModelFolder, check_name

FILE_PREFIX = "file:"


def write(name: str, files: Mapping[str, bytes]) -> ModelFolder:
    """Make a folder for model `name` that holds `files`, by their paths below it, and nothing else.

    ServerError (INVALID_ARG) for a path that is absolute, leads elsewhere, or stands for a file and a folder at once.
    """
    check_name(name)
    paths = {path: _parts(name, path) for path in files}
    root = Path(tempfile.mkdtemp(prefix="pyserver-model-"))  # mode 0700, a name that was not there
    try:
        for path, content in files.items():
            _write(root.joinpath(name, *paths[path]), content)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        shutil.rmtree(root)
        raise invalid(f"failed to load '{name}': '{FILE_PREFIX}{path}' is a file and a folder at once") from None
    except OSError as error:
        shutil.rmtree(root)
        raise invalid(f"failed to load '{name}': '{FILE_PREFIX}{path}' can't be written: {error.strerror}") from None
    return ModelFolder(name, root / name, root)


def remove(folder: ModelFolder) -> None:
    """Remove what `write` made; nothing if it is gone."""
    shutil.rmtree(folder.repository, ignore_errors=True)


def _parts(name: str, path: str) -> tuple[str, ...]:
    """A path's names, none of which can lead out of the folder."""
    parts = PurePosixPath(path).parts
    plain = parts and "/".join(parts) == path and not {"..", "/", "."} & set(parts)
    if not plain or "\0" in path or "\\" in path or len(path) > 1024:
        raise invalid(
            f"failed to load '{name}': '{FILE_PREFIX}{path[:64]}' does not name a file inside the model's folder,"
            " expected 'file:<version>/<path>'"
        )
    return parts


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
