"""Readers that count and bound what comes out of an archive."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

from pyserver.environment.guard import Limits, refused

CHUNK = 1 << 20
MAX_READ = 16 << 20
"""More than any header of a tar needs: a read of more is a forged size of one."""


class Counted(io.RawIOBase):
    """The archive as it lies on disk; `count` is how many of its bytes were read, told to `report` as it grows."""

    def __init__(self, file: BinaryIO, report: Callable[[int], None]) -> None:
        super().__init__()
        self._file = file
        self._report = report
        self.count = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        self._report(self.count)
        return len(data)


class Forward:
    """A decompressed tar: read and skipped forward only, refused (ServerError) when it grows as only a bomb does."""

    def __init__(self, file: BinaryIO, packed: Counted, limits: Limits) -> None:
        self._file = file
        self._packed = packed
        self._limits = limits
        self._position = 0
        self.last = b""
        """What was read last."""

    def read(self, size: int) -> bytes:
        """`size` bytes, or what is left."""
        if size > MAX_READ:
            raise refused(f"it has a header of {size} bytes")
        data = self._file.read(size)
        while len(data) < size and (more := self._file.read(size - len(data))):
            data += more
        self.last = data
        self._position += len(data)
        self._limits.check_ratio(self._position, self._packed.count)
        return data

    def tell(self) -> int:
        """Bytes read so far."""
        return self._position

    def seek(self, position: int) -> int:
        """Skip forward."""
        while self._position < position and self.read(min(CHUNK, position - self._position)):
            pass
        if position < self._position:
            raise io.UnsupportedOperation("an archive is read once, from its beginning to its end")
        return self._position
