"""Interpreters found on this machine, and virtual environments that are made once and kept in a cache folder."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

OLDEST, NEWEST = 8, 14
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
"""Where pyenv keeps interpreters, a folder each."""
PLACES = (f"{PYENV}/*/bin/python", "/opt/python/cp*/bin/python")


def cache_folder() -> Path:
    """Where environments are kept: $PYSERVER_PEERS, or pyserver-peers in the user's cache."""
    cached = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PYSERVER_PEERS") or Path(cached) / "pyserver-peers")


def environment(name: str, requirements: Sequence[str], python: Path = Path(sys.executable)) -> Path:
    """Make a virtual environment of `python` with `requirements` in it, if it isn't there yet; return its folder."""
    folder = cache_folder() / name
    done, wanted = folder / ".requirements", "\n".join([str(python), *requirements])
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([str(python), "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements], check=True, stdin=subprocess.DEVNULL)
        done.write_text(wanted)
    return folder


@cache
def interpreters() -> dict[tuple[int, int], Path]:
    """The CPython interpreters of this machine from 3.8 on, by version: the running one and those in usual places."""
    found = {sys.version_info[:2]: Path(sys.executable)}
    for path in _candidates():
        version = _version(path)
        if version is not None and version[0] == 3 and version[1] >= OLDEST:
            found.setdefault(version, path)
    return found


def _candidates() -> Iterator[Path]:
    for place in PLACES:
        yield from map(Path, sorted(glob.glob(os.path.expanduser(place))))
    for minor in range(OLDEST, NEWEST + 1):
        if path := shutil.which(f"python3.{minor}"):
            yield Path(path)


def _version(python: Path) -> tuple[int, int] | None:
    """The version of an interpreter that really starts: version managers leave names that don't."""
    program = "import sys, venv; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([str(python), "-c", program], capture_output=True, text=True, timeout=20, check=True)
        major, minor = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return major, minor
