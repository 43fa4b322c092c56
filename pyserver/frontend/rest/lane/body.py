"""Where the bytes of a request's body go while they arrive. No I/O."""

from __future__ import annotations

import mmap
from typing import Protocol

from pyserver.frontend.rest.lane.chunked import ChunkDecoder
from pyserver.frontend.rest.lane.head import Head
from pyserver.frontend.rest.limits import Limits
from pyserver.types import Buffer, Lease

LARGE = 64 * 1024
"""A body of as many bytes is received straight into the model's arena, where it can lend room."""


class Body(Protocol):
    """A body being received: `received` bytes so far; once `complete`, its `content`, None if that went elsewhere."""

    received: int
    complete: bool

    def take(self, data: bytearray, view: memoryview, at: int, end: int) -> int:
        """Take what is its own of `data[at:end]` (`view` looks at `data`), and return where it stopped.

        ServerError (400) if what comes is malformed or too much.
        """

    def content(self) -> tuple[Buffer, Lease | None] | None:
        """The bytes, and what holds their memory."""

    def abandon(self) -> None:
        """Nobody wants it any more."""


class PlacedBody:
    """A body of known length, received in place: the next bytes belong into `rest()`, `filled(n)` says they came."""

    __slots__ = ("_lease", "_view", "complete", "received")

    def __init__(self, view: memoryview, lease: Lease | None) -> None:
        self._view = view
        self._lease = lease
        self.received = 0
        self.complete = not view

    def rest(self) -> memoryview:
        """The part that is still missing."""
        return self._view[self.received :]

    def filled(self, count: int) -> None:
        """`count` bytes were written to the beginning of `rest()`."""
        self.received += count
        self.complete = self.received == len(self._view)

    def take(self, data: bytearray, view: memoryview, at: int, end: int) -> int:
        """Copy what came along with the headers."""
        count = min(end - at, len(self._view) - self.received)
        self._view[self.received : self.received + count] = view[at : at + count]
        self.filled(count)
        return at + count

    def content(self) -> tuple[Buffer, Lease | None]:
        """The body where it was placed."""
        return self._view, self._lease

    def abandon(self) -> None:
        """Give the memory back."""
        self._view = memoryview(b"")
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()


class GatheredBody:
    """A chunked body, gathered in one piece of ordinary memory."""

    __slots__ = ("_bytes", "_decoder", "complete", "received")

    def __init__(self, limits: Limits) -> None:
        self._bytes = bytearray()
        self._decoder = ChunkDecoder(limits, self._bytes.extend)
        self.received = 0
        self.complete = False

    def take(self, data: bytearray, view: memoryview, at: int, end: int) -> int:
        """Undo the chunks."""
        stop = self._decoder.feed(data, view, at, end)
        self.received += stop - at
        self.complete = self._decoder.complete
        return stop

    def content(self) -> tuple[Buffer, Lease | None]:
        """The chunks' bytes together."""
        return self._bytes, None

    def abandon(self) -> None:
        """Nothing is held."""


class Receiver(Protocol):
    """Takes a body piece by piece."""

    def data(self, piece: bytes) -> None:
        """Take a piece."""


class StreamedBody:
    """A body handed on as it comes, in pieces no longer than what arrived at once; dropped where nobody wants it."""

    __slots__ = ("_decoder", "_left", "_pieces", "_receiver", "complete", "received")

    def __init__(self, head: Head, limits: Limits, receiver: Receiver | None) -> None:
        self._receiver = receiver
        self._left = head.length
        self._pieces: list[bytes] = []
        self._decoder = ChunkDecoder(limits, self._piece) if head.chunked else None
        self.received = 0
        self.complete = not head.has_body

    def take(self, data: bytearray, view: memoryview, at: int, end: int) -> int:
        """Hand on what there is."""
        if self._decoder is not None:
            stop = self._decoder.feed(data, view, at, end)
            self.complete = self._decoder.complete
        else:
            stop = min(end, at + self._left)
            self._left -= stop - at
            self._piece(view[at:stop])
            self.complete = not self._left
        self.received += stop - at
        pieces, self._pieces = self._pieces, []
        if self._receiver is not None and pieces:
            self._receiver.data(b"".join(pieces))
        return stop

    def _piece(self, piece: memoryview) -> None:
        if self._receiver is not None:
            self._pieces.append(bytes(piece))

    def content(self) -> None:
        """It is gone."""

    def abandon(self) -> None:
        """Nothing is held."""


def ordinary_memory(size: int) -> memoryview:
    """`size` writable bytes of our own. Large ones cost nothing until they are written, whatever a client announces."""
    return memoryview(bytearray(size)) if size < LARGE else memoryview(mmap.mmap(-1, size))
