"""What is in /dev/shm, and whether it may be of certain processes: other programs of the machine use it too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tools import proc

FOLDER = Path("/dev/shm")


class SharedMemory:
    """What has come into /dev/shm since this was made, but for what is seen to be of other programs.

    An entry is another program's, for good, once it was found open or mapped by living processes of which none is
    `ours`. What nobody holds may be ours, whose maker has died; so who looks more often accuses fewer others.
    """

    def __init__(self, ours: Callable[[int], bool]) -> None:
        self._ours = ours
        self._others = set(_entries())

    def look(self) -> list[Path]:
        """The entries that may be ours."""
        new = set(_entries()) - self._others
        if new:
            held = proc.holders([path for path, _ in new])
            self._others |= {(path, of) for path, of in new if held[path] and not any(map(self._ours, held[path]))}
        return sorted(path for path, _ in new - self._others)


def _entries() -> Iterator[tuple[Path, int]]:
    """Paths with inodes (a name may come again) of what this user has there."""
    for path in FOLDER.iterdir():
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if found.st_uid == os.geteuid():
            yield path, found.st_ino
