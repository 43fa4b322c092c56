"""One client's connection: requests in, answers out, in their order.

An inference goes through `frontend.rest.infer` without any object of Tornado's. Every other request becomes an
`Exchange` with the Tornado application, alone on the connection until it is over.

The way of a byte: the loop reads into `get_buffer()`, which is either the buffer that all connections share (what is in
it is used up, or put aside into `_input`, before the next read) or, once a body's length is known, the place where that
body belongs. `_take` finds the requests in it; `Outbound` answers them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from pyserver.errors import ServerError
from pyserver.frontend.rest.infer import failure, start
from pyserver.frontend.rest.lane.answer import CONTINUE, is_reset
from pyserver.frontend.rest.lane.body import LARGE, Body, GatheredBody, PlacedBody, StreamedBody, ordinary_memory
from pyserver.frontend.rest.lane.exchange import Exchange
from pyserver.frontend.rest.lane.head import END, Head, parse, refusal_of_length
from pyserver.frontend.rest.lane.outbound import Outbound
from pyserver.frontend.rest.lane.watch import Phase, Watch, too_slow
from pyserver.frontend.rest.limits import header_too_large
from pyserver.types import Buffer, Lease

if TYPE_CHECKING:
    from pyserver.frontend.rest.lane.server import LaneServer

_MAX_ASIDE = 64 * 1024
"""Input put aside (bytes) beyond which no more is read."""
_FIRST_LOOK = 0.005
"""How long (seconds) after asking whether a client is still there its reset is looked for; then ever more rarely."""


class Connection(asyncio.BufferedProtocol):
    """The protocol of one connection to `lane`."""

    __slots__ = (
        "_aside", "_asked", "_barrier", "_body", "_busy", "_count", "_data", "_data_plane", "_ending", "_eof",
        "_exchange", "_head", "_heads", "_into", "_lane", "_limits", "_lingering", "_lost", "_outbound", "_reading",
        "_scanned", "_started", "_transport", "_view", "_watch", "_winding_down", "loop", "remote_ip",
    )  # fmt: skip

    _transport: asyncio.Transport
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
        self._watch = Watch()
        # No input is taken: at the moment; until all answers are given; ever again.
        self._busy = self._barrier = self._ending = False
        self._asked = False
        # We close when all is answered, because the server drains, or because the client sends no more.
        self._winding_down = self._eof = False
        self._lingering = self._lost = False
        self._reading = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; or say that there is no room."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self._outbound = Outbound(self, self._lane, self._transport)
        peer = transport.get_extra_info("peername")
        self.remote_ip = peer[0] if isinstance(peer, tuple) else ""
        refusal = self._lane.admit(self)
        if refusal is not None:
            self.refuse(refusal)

    # Input.

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
            self._outbound.say(None, failure(error), head)
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
            self._started = self.loop.time()
            self._exchange.end()
            return
        content = body.content()
        if content is not None:
            self._infer(head, *content)
        if not head.keep_alive:
            self._busy = self._ending = True

    def _infer(self, head: Head, body: Buffer, lease: Lease | None) -> None:
        outbound = self._outbound
        assert head.infer is not None
        try:
            request, future = start(
                self._data_plane, head.model_name, head.model_version, head.infer, body, lease, self._limits
            )
        except Exception as error:
            outbound.say(None, failure(error), head)
        else:
            outbound.say(future, request, head)
        if len(outbound.queue) >= self._limits.max_pipelined:
            self._busy = True

    # What the answering half asks.

    def persists(self, head: Head | None) -> bool:
        """Whether requests may follow the one of `head`, which is being answered now."""
        if head is None or not head.keep_alive:
            return False
        if not self._winding_down:
            return True
        return bool(self._outbound.queue or self._body is not None or self._aside)

    def answered(self) -> None:
        """Take up the input that had to wait, if it need not any more."""
        if self._busy and not self._ending and self._exchange is None:
            waiting = len(self._outbound.queue)
            if waiting < self._limits.max_pipelined and not (self._barrier and waiting):
                self.go_on()
        if self._winding_down:
            self.settle()

    def pause_writing(self) -> None:
        """The transport holds something that the kernel doesn't take yet."""
        self._outbound.paused = True

    def resume_writing(self) -> None:
        """The transport holds nothing any more."""
        self._outbound.resume()
        if self._exchange is not None:
            self._exchange.sent()
        self._outbound.ready()

    # What an exchange asks.

    def write(self, data: bytes) -> bool:
        """Send `data`; False while the transport holds some of it."""
        if not self._lost:
            self._outbound.put(data)
            self._outbound.flush()
        return not self._outbound.paused

    def hold(self) -> None:
        """Take no input until `go_on`."""
        self._busy = True

    def go_on(self) -> None:
        """Take input again, first what was put aside."""
        self._busy = self._barrier = False
        self._say_continue()
        if self._aside:
            self._take_aside()
        self._outbound.flush()
        if not self._busy:
            self._read(True)

    def exchange_over(self, keep: bool) -> None:
        """The application has answered."""
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        self._busy = True
        if self._lane.access_log is not None:
            self._lane.log_answer(self.remote_ip, exchange.head, exchange.status, exchange.size, self._started)
        if keep:
            self.loop.call_soon(self.answered)
        else:
            self.linger()

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        self._transport.abort()

    # Ends.

    def refuse(self, error: ServerError) -> None:
        """What has come is no request: say so when its turn comes, and take nothing more from this client."""
        self._drop_body()
        self._aside = bytearray()  # the old one may be being read
        self._busy = self._ending = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost()
            if exchange.written:
                self.abort()
                return
        self._outbound.say(None, failure(error), None)
        self._outbound.flush()

    def _drop_body(self) -> None:
        body, self._body = self._body, None
        self._into = self._view
        if body is not None:
            body.abandon()

    def linger(self) -> None:
        """Close our half after the last answer; what still comes is read and dropped until the client closes its own.

        To close at once would reset the connection if the client is still sending, and it might lose the answer.
        """
        if self._lingering or self._lost:
            return
        self._outbound.flush()
        self._drop_body()
        self._aside = bytearray()
        self._busy = self._ending = self._lingering = True
        if self._eof:
            self._transport.close()
        else:
            self._read(True)
            self._transport.write_eof()

    def _read(self, on: bool) -> None:
        if on is self._reading or self._eof:
            return
        self._reading = on
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client closed its half, or all of it: what it has asked is still answered, if there is anybody."""
        self._eof = self._winding_down = True
        if self._body is not None:
            self._drop_body()
            exchange, self._exchange = self._exchange, None
            if exchange is not None:
                exchange.lost()
                return False
        if self._lingering or self._is_idle():
            return False
        self._ask_for_life()
        return True

    def _ask_for_life(self) -> None:
        """Find out whether anybody reads on, where that can be asked without disturbing an answer.

        Closing a socket and closing half of it look alike from here until something is sent. An interim response may
        always be sent, and every client of HTTP/1.1 skips it (RFC 9110, section 15.2); nobody being there, the kernel
        at the other end answers it with a reset.
        """
        queue, exchange = self._outbound.queue, self._exchange
        head = queue[0][2] if queue else self._head
        if head is None or head.http_1_0 or self._outbound.paused or (exchange is not None and exchange.written):
            return
        self.write(CONTINUE)
        self.loop.call_later(_FIRST_LOOK, self._look_for_reset, 2 * _FIRST_LOOK)

    def _look_for_reset(self, again: float) -> None:
        if self._lost:
            return
        if is_reset(self._transport):
            self.abort()
        else:
            self.loop.call_later(again, self._look_for_reset, min(2 * again, 1.0))

    def _is_idle(self) -> bool:
        """Whether nothing is under way that the client could still get an answer to."""
        if self._outbound.queue or self._exchange is not None or self._busy:
            return False
        return self._eof or not (self._body or self._aside)

    def settle(self) -> None:
        """Close if there is nothing left to do."""
        if not self._lost and not self._lingering and self._is_idle():
            self._outbound.flush()
            self._transport.close()

    def wind_down(self) -> None:
        """The answer to the last request that comes by the time of it is the last. `settle` then closes idle ones."""
        self._winding_down = True

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody waits for anything any more."""
        self._lost = self._busy = self._ending = True
        self._drop_body()
        self._outbound.abandon()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost()
        self._lane.forget(self)

    # Time.

    def check_time(self, now: float) -> None:
        """Called about once a second with the loop's time: end what takes too long."""
        phase, moved = self._phase()
        timeout = self._watch.look(now, phase, self._count, moved, self._limits)
        if timeout is None:
            return
        if phase is Phase.IDLE:
            self._transport.close()
        elif phase in (Phase.HEAD, Phase.BODY):
            self.refuse(too_slow(timeout, self._limits))
        else:
            self.abort()

    def _phase(self) -> tuple[Phase, int]:
        """What this connection waits for, and a measure that grows as it comes."""
        if self._outbound.paused:
            return Phase.SEND, -self._outbound.unsent()
        if self._lingering:
            return Phase.LINGER, 0
        if self._body is not None and not self._busy:
            return Phase.BODY, self._body.received
        if self._outbound.queue or self._exchange is not None or self._busy:
            return Phase.WORK, 0
        return (Phase.HEAD if self._aside else Phase.IDLE), 0
