"""The key of an environment: a hash of what it is made from, remembered as long as the file does not change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pyserver.environment.cache import Cache, is_key

CHUNK = 1 << 20
KEY_LENGTH = 32
"""Half of the hash: a shorter path is more likely to fit where a packed program keeps the place it was built at."""
LAYOUT = b"pyserver environment 1\n"
"""Changes when what is made from the same archive does."""


def key_of(*parts: bytes) -> str:
    """The key of an environment that is made from `parts`."""
    digest = hashlib.sha256(LAYOUT)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:KEY_LENGTH]


def remembered(cache: Cache, path: Path) -> str | None:
    """The key of the file at `path`, if it was read before and has not changed since."""
    try:
        key = (cache.root / "known" / identity(path)).read_text()
    except OSError:
        return None
    return key if is_key(key) else None


def read(cache: Cache, path: Path, file: BinaryIO, report: Callable[[int], None]) -> str:
    """The key of `file`, which is open at `path`, by reading all of it; remembered from now on."""
    digest = hashlib.sha256(LAYOUT)
    done = 0
    before = identity(path)
    while data := file.read(CHUNK):
        digest.update(data)
        done += len(data)
        report(done)
    file.seek(0)
    key = digest.hexdigest()[:KEY_LENGTH]
    if identity(path) == before:
        unfinished = cache.root / "known" / f"{before}.{os.getpid()}"
        unfinished.write_text(key)
        unfinished.replace(cache.root / "known" / before)
    return key


def identity(path: Path) -> str:
    """A name for the state that the file at `path` is in."""
    real = path.resolve()
    found = real.stat()
    return key_of(os.fsencode(real), f"{found.st_size} {found.st_mtime_ns} {found.st_ino}".encode())
