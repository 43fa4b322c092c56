"""Hashes of environments, by MLServer's names; environments themselves are the server's."""

from __future__ import annotations

import hashlib

_AT_ONCE = 1 << 20


async def compute_hash_of_file(tarball_path: str) -> str:
    """The SHA-256 of a file."""
    found = hashlib.sha256()
    with open(tarball_path, "rb") as file:
        while True:
            part = file.read(_AT_ONCE)
            if not part:
                return found.hexdigest()
            found.update(part)


async def compute_hash_of_string(string: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(string.encode()).hexdigest()
