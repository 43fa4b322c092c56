"""The request memory of one model version: its arena, the slots of its cancel table, and blocks lent to receivers."""

from __future__ import annotations

import logging

from pyserver.core.tensor import address
from pyserver.ipc import arena
from pyserver.ipc.arena import ALIGNMENT, Arena, ArenaFull
from pyserver.ipc.words import CANCEL_BYTES, CANCEL_SLOTS, TABLES_BYTES, cancel_words, taken_words

log = logging.getLogger(__name__)

_SLOTS = tuple(range(CANCEL_SLOTS - 1, 0, -1))
"""Of a cancel table: the lowest are used first, so that few of its cache lines are; 0 is nobody's. The numbers are
the same objects for all models: they would be half a megabyte for each.
"""


class Block:
    """A lease of request memory that a body is received into.

    `view` is exactly as long as asked for. It is given back when the receiver has released it and every instance that
    was handed inputs in it is done with them.
    """

    __slots__ = ("_holds", "_offset", "_released", "memory", "view")

    def __init__(self, memory: RequestMemory, offset: int, view: memoryview) -> None:
        self.memory = memory
        self.view = view
        self._offset = offset
        self._holds = 1
        self._released = False

    def hold(self) -> None:
        """Keep it until `drop`, once more."""
        self._holds += 1

    def drop(self) -> None:
        """Undo one `hold`."""
        self._holds -= 1
        if not self._holds:
            self.memory.arena.free(self._offset)

    def release(self) -> None:
        """Give the receiver's hold back; again for nothing."""
        if not self._released:
            self._released = True
            self.drop()


class RequestMemory:
    """An arena of at most `budget` bytes, shared by the instances of one model version. Belongs to the main loop."""

    def __init__(self, name: str, budget: int, size: int = arena.SIZE) -> None:
        fd = arena.create(f"pyserver-requests-{name[:128]}", size)
        self.arena = Arena(fd, budget, TABLES_BYTES)
        self.view = self.arena.view
        self.base = address(self.view)
        self.size = self.arena.size
        self.cancelled = cancel_words(self.view)
        self.taken = taken_words(self.view)
        self.slots = list(_SLOTS)

    def fileno(self) -> int:
        """Return the memfd's descriptor, for stubs to map."""
        return self.arena.fd

    def reserve(self, nbytes: int, header: int) -> Block | None:
        """Lend a block to receive `nbytes` into, its byte `header` aligned; None if there is no room."""
        start = -header % ALIGNMENT
        try:
            offset = self.arena.allocate(nbytes + start)
        except ArenaFull:
            return None
        return Block(self, offset, self.view[offset + start : offset + start + nbytes])

    def trim(self, now_ns: int) -> None:
        """Give idle memory back to the system."""
        if self.arena.fd >= 0:
            self.arena.trim(now_ns)

    def close(self) -> None:
        """Let go of the memfd, after which nothing can be allocated; views into it stay valid, leases may end later."""
        if self.arena.blocks:
            log.debug("closing request memory with %d blocks lent", self.arena.blocks)
        if self.arena.fd >= 0:
            self.arena.close()
            # What still refers to this object, in a circle, would keep the pages until the garbage collector comes by.
            self.view = memoryview(b"")
            self.cancelled = memoryview(bytearray(CANCEL_BYTES)).cast("I")
            self.taken = memoryview(bytearray(CANCEL_BYTES)).cast("I")
