"""One client's connection: its beginning, its turns, its ends.

Requests come in by `Receiver`, answers go out by `Outbound`, in the order of their requests.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from pyserver.errors import ServerError
from pyserver.frontend.rest.infer import failure
from pyserver.frontend.rest.lane.answer import CONTINUE, is_reset
from pyserver.frontend.rest.lane.head import Head
from pyserver.frontend.rest.lane.outbound import Outbound
from pyserver.frontend.rest.lane.receiver import Receiver
from pyserver.frontend.rest.lane.watch import Phase, Watch, too_slow

if TYPE_CHECKING:
    from pyserver.frontend.rest.lane.server import LaneServer

_FIRST_LOOK = 0.005
"""How long (seconds) after asking whether a client is still there its reset is looked for; then ever more rarely."""


class Connection(Receiver):
    """The protocol of one connection to `lane`."""

    __slots__ = ("_eof", "_lost", "_reading", "_refused", "_transport", "_watch")

    _transport: asyncio.Transport

    def __init__(self, lane: LaneServer) -> None:
        super().__init__(lane)
        self._watch = Watch()
        self._reading = True
        self._eof = self._lost = self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; or say that there is no room."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self._outbound = Outbound(self, self._lane, self._transport)
        peer = transport.get_extra_info("peername")
        self.remote_ip = peer[0] if isinstance(peer, tuple) else ""
        refusal = self._lane.admit(self)
        if refusal is not None:
            self.refuse(refusal)

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

    def unanswered(self) -> list[Head]:
        """The heads of the requests whose answers are to come."""
        heads = [waiting.head for waiting in self._outbound.queue if waiting.head is not None]
        return heads if self._exchange is None else [*heads, self._exchange.head]

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
            self._lane.log_answer(
                self.remote_ip, exchange.head, exchange.status, exchange.size, self._started, exchange.request_id
            )
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
        self._busy = self._ending = self._refused = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost()
            if exchange.written:
                self.abort()
                return
        self._outbound.say(failure(error), None)
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
        complete = self._body is None and not self._refused
        self._drop_body()
        self._aside = bytearray()
        self._busy = self._ending = self._lingering = True
        if self._eof or (self._lane.secure and complete):
            self._transport.close()
        else:
            self._read(True)
            if not self._lane.secure:  # TLS has no halves
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
        if self._lane.secure:
            return False
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
        head = queue[0].head if queue else self._head
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
        if self._lost:
            return
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
