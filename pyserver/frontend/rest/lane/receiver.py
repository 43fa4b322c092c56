"""The half of a connection that takes requests.

The way of a byte: the loop reads into `get_buffer()`, which is either the buffer that all connections share (what is in
it is used up, or put aside into `_aside`, before the next read) or, once a body's length is known, the place where that
body belongs. `_take` finds the requests in it: an inference goes through `frontend.rest.infer` without any object of
Tornado's, every other request becomes an `Exchange` with the application, alone on the connection until it is over.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from time import monotonic
from typing import TYPE_CHECKING

from pyserver.errors import ServerError
from pyserver.frontend.rest.infer import failure, now_if_traced, read
from pyserver.frontend.rest.lane.answer import CONTINUE
from pyserver.frontend.rest.lane.body import LARGE, Body, GatheredBody, PlacedBody, StreamedBody, ordinary_memory
from pyserver.frontend.rest.lane.exchange import Exchange
from pyserver.frontend.rest.lane.head import END, Head, parse, refusal_of_length
from pyserver.frontend.rest.lane.outbound import Outbound
from pyserver.frontend.rest.limits import header_too_large
from pyserver.types import Buffer, Lease

if TYPE_CHECKING:
    from pyserver.frontend.rest.lane.server import LaneServer

_MAX_ASIDE = 64 * 1024
"""Input put aside (bytes) beyond which no more is read."""


class Receiver(asyncio.BufferedProtocol):
    """Takes the requests of one connection to `lane`, and hands what they ask to the data plane or the application."""

    __slots__ = (
        "_aside", "_asked", "_barrier", "_body", "_busy", "_count", "_data", "_data_plane", "_ending", "_exchange",
        "_head", "_heads", "_into", "_lane", "_limits", "_lingering", "_outbound", "_scanned", "_started", "_view",
        "_winding_down", "loop", "remote_ip",
    )  # fmt: skip

    _outbound: Outbound

    def __init__(self, lane: LaneServer) -> None:
        self.loop = lane.loop
        self.remote_ip = ""
        self._lane = lane
        self._limits = lane.limits
        self._data_plane = lane.data_plane
        self._heads = lane.heads
        self._data = lane.buffer
        self._view = self._into = lane.view
        self._aside = bytearray()
        self._scanned = 0
        self._head: Head | None = None
        self._body: Body | None = None
        self._exchange: Exchange | None = None
        self._count = 0
        self._started = 0.0
        # No input is taken: at the moment; until all answers are given; ever again.
        self._busy = self._barrier = self._ending = False
        # The client waits for leave to send its body.
        self._asked = False
        # The last answer was given; or will be when all that was asked is answered.
        self._lingering = self._winding_down = False

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._into

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` have come."""
        if self._into is not self._view:
            self._fill(nbytes)
        elif self._busy or self._aside:
            self._put_aside(nbytes)
        else:
            at = self._take(self._data, self._view, nbytes, 0)
            if at < nbytes and not self._lingering:
                self._aside += self._view[at:nbytes]
                self._note_partial()
        self._outbound.flush()
        if self._winding_down:
            self.settle()

    def _fill(self, nbytes: int) -> None:
        body = self._body
        assert isinstance(body, PlacedBody)
        body.filled(nbytes)
        if body.complete:
            self._into = self._view
            self._received()
        else:
            self._into = body.rest()

    def _put_aside(self, nbytes: int) -> None:
        if self._lingering:
            return
        self._aside += self._view[:nbytes]
        if not self._busy:
            self._take_aside()
        if self._busy and len(self._aside) >= _MAX_ASIDE:
            self._read(False)

    def _take_aside(self) -> None:
        aside = self._aside
        with memoryview(aside) as view:
            at = self._take(aside, view, len(aside), self._scanned)
        del aside[:at]
        self._note_partial()

    def _note_partial(self) -> None:
        """What is left of the input is the beginning of a head: refuse too long a one, search each byte once."""
        if self._busy or self._body is not None:
            self._scanned = 0
            return
        self._scanned = max(0, len(self._aside) - len(END) + 1)
        if len(self._aside) > self._limits.max_header_size:
            self.refuse(header_too_large(self._limits))

    def _take(self, data: bytearray, view: memoryview, end: int, scanned: int) -> int:
        """Take the requests, whole or begun, in `data[:end]`; returns how much that was. `view` looks at `data`.

        The first `scanned` bytes are known to hold no end of a head.
        """
        at = 0
        heads = self._heads
        try:
            while at < end and not self._busy:
                if self._body is not None:
                    at = self._take_body(self._body, data, view, at, end)
                    continue
                stop = data.find(END, scanned or at, end) + len(END)
                if stop < len(END):
                    break
                scanned = 0
                head = heads.get(bytes(view[at:stop]))
                if head is not None and stop + head.length <= end and head.length < LARGE:
                    # By far the most: an inference, all there, from a client that has sent such a head before.
                    at = stop + head.length
                    self._count += 1
                    self._infer(head, bytes(view[stop:at]), None)
                elif data.startswith(b"\r\n", at):
                    at += 2  # an empty line before a request means nothing (RFC 9112, section 2.2)
                else:
                    head = head or self._parse(bytes(view[at:stop]))
                    if not self._begin(head, not head.chunked and stop + head.length <= end):
                        break
                    at = stop
        except ServerError as error:
            self.refuse(error)
            return end
        return at

    def _take_body(self, body: Body, data: bytearray, view: memoryview, at: int, end: int) -> int:
        at = body.take(data, view, at, end)
        if body.complete:
            self._received()
        elif isinstance(body, PlacedBody):
            self._into = body.rest()
        return at

    def _parse(self, block: bytes) -> Head:
        head = parse(block, self._limits)
        if head.infer is not None and self._lane.diverts(head):
            head.infer = None
        if head.infer is not None and head.keep_alive and not head.chunked:
            self._lane.remember(block, head)
        return head

    def _begin(self, head: Head, complete: bool) -> bool:
        """Take a request. `complete` says that its body is at hand already.

        False if it has to wait for the answers before it. ServerError if the connection can't go on after it.
        """
        asked = head.expects_continue and not complete
        if self._outbound.queue and (head.infer is None or asked):
            self._busy = self._barrier = True
            return False
        wrong = refusal_of_length(head, self._limits)
        if wrong is not None:
            raise wrong
        self._count += 1
        self._head = head
        if head.infer is None:
            self._begin_exchange(head)
        else:
            self._body = self._room(head, complete)
        self._asked = asked
        self._say_continue()
        if self._body is not None and self._body.complete:
            self._received()
        return True

    def _say_continue(self) -> None:
        """Let the client send the body that it has asked for leave to send, once whoever wants it is ready."""
        if self._asked and not self._busy and (self._exchange is None or not self._exchange.written):
            self._asked = False
            self._outbound.put(CONTINUE)

    def _room(self, head: Head, complete: bool) -> Body:
        """Where the body of an inference goes. An unknown model's is refused before it has come, and dropped."""
        block = None
        name, version = head.model_name, head.model_version
        try:
            if not complete:
                self._data_plane.check(name, version)
            if head.length >= LARGE:
                block = self._data_plane.reserve(name, version, head.length, head.json_length())
        except ServerError as error:
            if head.expects_continue or not head.keep_alive:
                raise
            self._outbound.say(failure(error), head)
            return StreamedBody(head, self._limits, None)
        if head.chunked:
            return GatheredBody(self._limits)
        if block is not None:
            return PlacedBody(block.view, block)
        return PlacedBody(ordinary_memory(head.length), None)

    def _begin_exchange(self, head: Head) -> None:
        exchange = self._exchange = Exchange(self, head, self._lane.application, self.remote_ip)
        self._body = StreamedBody(head, self._limits, exchange)
        exchange.begin()

    def _received(self) -> None:
        """The body is complete."""
        body, head, self._body = self._body, self._head, None
        assert body is not None
        assert head is not None
        if self._exchange is not None:
            self._busy = True
            self._started = monotonic()
            self._exchange.end()
            return
        content = body.content()
        if content is not None:
            self._infer(head, *content)
        if not head.keep_alive:
            self._busy = self._ending = True

    def _infer(self, head: Head, body: Buffer, lease: Lease | None) -> None:
        outbound, data_plane = self._outbound, self._data_plane
        assert head.infer is not None
        waiting = outbound.expect(head)
        try:
            began = now_if_traced(data_plane)
            request = waiting.request = read(
                data_plane, head.model_name, head.model_version, head.infer, body, lease, self._limits
            )
            received = (began, now_if_traced(data_plane)) if began else ()
            waiting.asked(data_plane.submit(request, waiting, "HTTP", received))
        except Exception as error:
            waiting.outcome = failure(error)
            outbound.give()
        if len(outbound.queue) >= self._limits.max_pipelined:
            self._busy = True

    # What an exchange asks, and its connection does.

    @abstractmethod
    def write(self, data: bytes) -> bool:
        """Send `data`; False while the transport holds some of it."""

    @abstractmethod
    def hold(self) -> None:
        """Take no input until `go_on`."""

    @abstractmethod
    def go_on(self) -> None:
        """Take input again."""

    @abstractmethod
    def persists(self, head: Head | None) -> bool:
        """Whether requests may follow the one of `head`, which is being answered now."""

    @abstractmethod
    def exchange_over(self, keep: bool) -> None:
        """The application has answered."""

    @abstractmethod
    def refuse(self, error: ServerError) -> None:
        """Answer with `error` when its turn comes, and take nothing more from this client."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once, whatever is unsent."""

    @abstractmethod
    def settle(self) -> None:
        """Close if there is nothing left to do."""

    @abstractmethod
    def _read(self, on: bool) -> None:
        """Read from the transport, or don't."""
