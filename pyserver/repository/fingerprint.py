"""Whether the files of a model have changed: by names, sizes, times and inode numbers, without reading them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_TEMPORARY_ENDS = ("~", ".swp", ".swo", ".swx", ".tmp", ".part", ".pyc", ".crdownload")
_CONFIGURATION = {"config.pbtxt", "model-settings.json"}
_TEMPORARY = {"__pycache__", "4913"}
"""4913 is what vim writes to see whether it may."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Two digests: of the configuration's files, and of everything else in a model's folder."""

    config: str
    files: str


def take(folder: Path, without: str = "") -> Fingerprint:
    """Look at everything in `folder`; what vanishes meanwhile, and a folder that is gone, counts as not there.

    Folders within it that hold a file called `without` are others' business.
    """
    config, files = hashlib.sha256(), hashlib.sha256()
    for name, line in _entries(str(folder), "", without):
        digest = config if name in _CONFIGURATION or name.startswith("configs/") else files
        digest.update(line.encode("utf-8", "surrogateescape"))
    return Fingerprint(config.hexdigest(), files.hexdigest())


def of_file(path: Path) -> Fingerprint:
    """Look at one file, which may be gone."""
    try:
        line = _line(path.name, path.stat())
    except OSError:
        line = ""
    return Fingerprint("", hashlib.sha256(line.encode("utf-8", "surrogateescape")).hexdigest())


def joined(looks: Iterable[Fingerprint]) -> Fingerprint:
    """One look at several folders."""
    config, files = hashlib.sha256(), hashlib.sha256()
    for look in looks:
        config.update(look.config.encode())
        files.update(look.files.encode())
    return Fingerprint(config.hexdigest(), files.hexdigest())


def is_temporary(name: str) -> bool:
    """Whether an editor, a copy tool or an interpreter keeps its own things under this name."""
    return (
        name.startswith((".", "#")) or name in _TEMPORARY or name.endswith(_TEMPORARY_ENDS)
    )  # fmt: skip


def _entries(folder: str, prefix: str, without: str) -> Iterator[tuple[str, str]]:
    """Path below the model's folder, and what may change about it, in order; links are followed to files alone."""
    try:
        with os.scandir(folder) as scan:
            found = sorted((entry for entry in scan if not is_temporary(entry.name)), key=lambda entry: entry.name)
    except OSError:
        return
    if prefix and without and any(entry.name == without for entry in found):
        return
    for entry in found:
        name = f"{prefix}{entry.name}"
        try:
            status = entry.stat()
            is_folder = entry.is_dir(follow_symlinks=False)
        except OSError:
            continue
        if is_folder:
            yield name, f"{name}\0/\n"
            yield from _entries(entry.path, f"{name}/", without)
        else:
            yield name, _line(name, status)


def _line(name: str, status: os.stat_result) -> str:
    return f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}\n"
