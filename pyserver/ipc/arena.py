"""Shared memory between a server and a stub: a memfd, mapped once, in which one side allocates and the other reads.

A memfd is sparse: its size is address space, which costs nothing until pages are touched, so an arena never grows and
never moves. It has no name that could leak, and vanishes with the last process that maps it.

Blocks come from lists by size class, the last one freed first, so that small traffic stays on a few hot pages and an
allocation is a few Python operations. What is not on a list is carved from a gap and reserved in the memfd before its
use: running out of memory is an `ArenaFull`, never a SIGBUS. `trim` gives back what has lain idle.
"""

from __future__ import annotations

import bisect
import errno
import fcntl
import mmap
import os
from typing import Dict, List, Optional, Tuple

SIZE = 64 << 30
"""Address space of an arena, in bytes, where there is room for it."""
ALIGNMENT = 64
"""Every block starts at a multiple of this many bytes."""
IDLE_NS = 10_000_000_000
"""What has been free for this long is given back by `trim`."""

_PAGE = mmap.PAGESIZE
_SMALLEST_SIZE = 16 << 20
_SLAB = 64 << 10  # small blocks are cut from runs of this many bytes
_SMALL = 16 << 10  # and are this long at most
_F_ADD_SEALS = 1033
_SEALS = 0x1 | 0x2 | 0x4  # neither side can change the size, or the seals


class ArenaFull(Exception):  # noqa: N818 - the name of a state, as queue.Full
    """There is no room for a block of `nbytes`: the arena may hold `budget` bytes, and its live blocks need them."""

    def __init__(self, nbytes: int, budget: int) -> None:
        super().__init__(f"no room for {nbytes} bytes: the arena may hold {budget}")
        self.nbytes = nbytes
        self.budget = budget


def create(name: str, size: int = SIZE) -> int:
    """Make a memfd of `size` bytes, or of the largest half, quarter ... that this process can map; return its fd."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        while True:
            try:
                os.ftruncate(fd, size)
                mmap.mmap(fd, size).close()
                break
            except OSError as error:
                if size <= _SMALLEST_SIZE or error.errno not in (errno.ENOMEM, errno.EFBIG, errno.EINVAL):
                    raise
                size //= 2
        fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


class Mapping:
    """The whole of a memfd, mapped: `view` is its bytes. The mapping lives as long as a view into it does."""

    def __init__(self, fd: int, writable: bool = True) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self.map: mmap.mmap = mmap.mmap(fd, self.size, access=access)
        self.view = memoryview(self.map)

    def close(self) -> None:
        """Close the descriptor and let go of the memory, which stays as long as somebody else holds a view of it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
            # Not when the collector comes by: what still refers to this object, in a circle, would keep all pages.
            self.map = mmap.mmap(-1, _PAGE)
            self.view = memoryview(self.map)


class SizeClass:
    """The free blocks of one size, by offset: a stack of `hot` ones, and `resting` for what `trim` has found idle."""

    __slots__ = ("block", "hot", "resting", "slabs")

    def __init__(self, block: int) -> None:
        self.block = block
        self.hot: List[int] = []
        self.resting: List[int] = []
        self.slabs: List[int] = []  # offsets, ascending: where small blocks are cut from


class Arena(Mapping):
    """The writer's side of a memfd: allocates and frees.

    `budget` bounds, in bytes, the memory that it holds at any time, free blocks included. The first `reserved` bytes
    are never allocated: they hold the words of `pyserver.ipc.words`. Not thread-safe.
    """

    def __init__(self, fd: int, budget: Optional[int] = None, reserved: int = 0) -> None:
        super().__init__(fd)
        reserved = _round_up(reserved, _PAGE)
        if reserved:
            os.posix_fallocate(fd, 0, reserved)
        self.budget = self.size if budget is None else budget
        self.held = 0  # bytes of memory behind blocks, live and free
        self._live: Dict[int, SizeClass] = {}
        self._classes: Dict[int, SizeClass] = {}
        self._small: List[Optional[SizeClass]] = [None] * (_SMALL // ALIGNMENT + 1)  # by size in units of 64 bytes
        self._gaps: List[Tuple[int, int]] = [(reserved, self.size - reserved)]  # (offset, size): ascending, apart
        self._trimmed_ns = 0

    @property
    def blocks(self) -> int:
        """How many blocks are live."""
        return len(self._live)

    @property
    def used(self) -> int:
        """Bytes in live blocks."""
        return sum(size_class.block for size_class in self._live.values())

    def allocate(self, nbytes: int) -> int:
        """Return the offset of a block of at least `nbytes`; ArenaFull if there is no room."""
        size_class = self._small[(nbytes + 63) >> 6] if nbytes <= _SMALL else None
        if size_class is None:
            size_class = self._class_of(nbytes)
        hot = size_class.hot
        offset = hot.pop() if hot else self._refill(size_class)
        self._live[offset] = size_class
        return offset

    def free(self, offset: int) -> None:
        """Take the block at `offset` back; KeyError if no live block starts there."""
        self._live.pop(offset).hot.append(offset)

    def trim(self, now_ns: int) -> None:
        """Give back what has lain free for IDLE_NS or longer. Cheap enough to be called in every idle moment."""
        if now_ns - self._trimmed_ns < IDLE_NS:
            return
        self._trimmed_ns = now_ns
        for size_class in self._classes.values():
            self._give_back(self._idle(size_class))
            # Whoever is needed again before the next time is taken from `resting`, the hottest first, to the stack.
            size_class.resting.extend(size_class.hot)
            size_class.hot.clear()

    def _class_of(self, nbytes: int) -> SizeClass:
        """Eight sizes to a doubling: 64-byte steps at first, whole pages from _SMALL on."""
        shift = max((nbytes - 1).bit_length() - 4, 6 if nbytes <= _SMALL else 12)
        block = max(nbytes + (1 << shift) - 1 >> shift << shift, ALIGNMENT)
        size_class = self._classes.get(block)
        if size_class is None:
            size_class = self._classes[block] = SizeClass(block)
        if block <= _SMALL:
            self._small[(nbytes + 63) >> 6] = size_class
        return size_class

    def _refill(self, size_class: SizeClass) -> int:
        """Return a block for a class whose stack is empty."""
        if size_class.resting:
            return size_class.resting.pop()
        block = size_class.block
        if block > _SMALL:
            return self._carve(block)
        slab = self._carve(_SLAB)
        bisect.insort(size_class.slabs, slab)
        size_class.hot.extend(reversed(range(slab, slab + _SLAB - block + 1, block)))
        return size_class.hot.pop()

    def _carve(self, size: int) -> int:
        """Return the offset of `size` fresh bytes, reserved."""
        if self.held + size > self.budget:
            self._reclaim(self.held + size - self.budget)
        if self.held + size > self.budget:
            raise ArenaFull(size, self.budget)
        found = self._find_gap(size)
        if found is None:
            self._reclaim(self.held)
            found = self._find_gap(size)
        if found is None:
            raise ArenaFull(size, self.budget)
        offset, length = self._gaps[found]
        try:
            os.posix_fallocate(self.fd, offset, size)
        except OSError as error:
            raise ArenaFull(size, self.budget) from error
        if length > size:
            self._gaps[found] = (offset + size, length - size)
        else:
            del self._gaps[found]
        self.held += size
        return offset

    def _find_gap(self, size: int) -> Optional[int]:
        return next((index for index, (_, length) in enumerate(self._gaps) if length >= size), None)

    def _reclaim(self, wanted: int) -> None:
        """Give back free blocks, the largest first, until `wanted` bytes have come together."""
        target = self.held - wanted
        for block in sorted(self._classes, reverse=True):
            if self.held <= target:
                return
            size_class = self._classes[block]
            size_class.resting.extend(size_class.hot)
            size_class.hot.clear()
            self._give_back(self._idle(size_class))

    def _idle(self, size_class: SizeClass) -> List[Tuple[int, int]]:
        """Take out of a class what of its resting blocks can be given back: (offset, size) runs, ascending."""
        resting = size_class.resting
        if not resting:
            return []
        block, slabs = size_class.block, size_class.slabs
        if block > _SMALL:
            size_class.resting = []
            return [(offset, block) for offset in sorted(resting)]
        counts = [0] * len(slabs)
        for offset in resting:
            counts[bisect.bisect_right(slabs, offset) - 1] += 1
        whole = {slab for slab, count in zip(slabs, counts) if count == _SLAB // block}
        size_class.resting = [at for at in resting if slabs[bisect.bisect_right(slabs, at) - 1] not in whole]
        size_class.slabs = [slab for slab in slabs if slab not in whole]
        return [(slab, _SLAB) for slab in sorted(whole)]

    def _give_back(self, runs: List[Tuple[int, int]]) -> None:
        """Punch the memory out of these runs and make gaps of them."""
        if not runs:
            return
        for offset, size in _joined(runs):
            self.map.madvise(mmap.MADV_REMOVE, offset, size)
            self.held -= size
        self._gaps = _joined(sorted(self._gaps + runs))


def _joined(runs: List[Tuple[int, int]]) -> List[Tuple[int, int]]:
    """Make one of adjacent runs, of runs in ascending order."""
    joined: List[Tuple[int, int]] = []
    for offset, size in runs:
        if joined and sum(joined[-1]) == offset:
            joined[-1] = (joined[-1][0], joined[-1][1] + size)
        else:
            joined.append((offset, size))
    return joined


def _round_up(value: int, step: int) -> int:
    return (value + step - 1) // step * step
