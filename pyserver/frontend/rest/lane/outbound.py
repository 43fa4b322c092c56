"""The answering half of a connection: answers in the order of their requests, few writes, memory given back on time."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from pyserver.frontend.rest.infer import Answer
from pyserver.frontend.rest.lane.answer import JOINED, connection_line, gathered, head_of
from pyserver.frontend.rest.lane.head import Head
from pyserver.frontend.rest.lane.waiting import Waiting
from pyserver.types import InferResponse

if TYPE_CHECKING:
    from pyserver.frontend.rest.lane.server import LaneServer


class Owner(Protocol):
    """What the answering half asks of the connection."""

    remote_ip: str

    def persists(self, head: Head | None) -> bool:
        """Whether requests may follow the one of `head`, which is being answered now."""

    def answered(self) -> None:
        """There is room for more requests, or nothing left to answer."""

    def linger(self) -> None:
        """The last answer was given."""


class Outbound:
    """The answers over `transport`. `paused` says that the transport holds memory of ours, and takes no more."""

    __slots__ = ("_held", "_lane", "_out", "_owner", "_scheduled", "_transport", "paused", "queue")

    def __init__(self, owner: Owner, lane: LaneServer, transport: asyncio.Transport) -> None:
        # With marks of 0, pause_writing and resume_writing say exactly whether the transport holds memory of ours. TLS
        # takes a mark of 0 for one that is always passed; it copies what it encrypts, and holds no other memory.
        transport.set_write_buffer_limits(high=int(lane.secure), low=0)
        self._owner = owner
        self._lane = lane
        self._transport = transport
        self._out: list[bytes] = []
        self._held: list[InferResponse] = []
        self.queue: deque[Waiting] = deque()
        self.paused = False
        self._scheduled = False  # to flush at the end of this turn of the loop

    def expect(self, head: Head | None) -> Waiting:
        """A place in the queue of answers for the one to the request of `head`."""
        lane = self._lane
        waiting = Waiting(self, head, 0.0 if lane.access_log is None else monotonic())
        self.queue.append(waiting)
        return waiting

    def say(self, answer: Answer, head: Head | None) -> None:
        """Answer when the turn comes, which may be now; then `flush` sends it."""
        self.expect(head).outcome = answer
        self.give()

    def ready(self) -> None:
        """Give and send all answers whose turn it is; with others to come, what comes in this turn of the loop is one
        write.
        """
        self.give()
        if self._out:
            if self.queue:
                self._flush_soon()
            else:
                self.flush()
        self._owner.answered()

    def give(self) -> None:
        """Give all answers whose turn it is; `flush` sends them."""
        queue = self.queue
        while queue and not self.paused:
            waiting = queue[0]
            outcome = waiting.outcome
            if outcome is None:
                return
            queue.popleft()
            self._answer(waiting, outcome)

    def _answer(self, waiting: Waiting, outcome: InferResponse | Answer) -> None:
        response: InferResponse | None = None
        if isinstance(outcome, Answer):
            answer = outcome
            waiting.let_go()
        else:
            response = outcome
            answer = waiting.finished(outcome)
        head = waiting.head
        keep = self._owner.persists(head)
        try:
            self._send(answer, connection_line(keep, head is not None and head.http_1_0))
        finally:
            if response is not None:
                self._done_with(response)
        if self._lane.access_log is not None and head is not None:
            asked = "" if waiting.request is None else waiting.request.id
            self._lane.log_answer(self._owner.remote_ip, head, answer.status, answer.size, waiting.started, asked)
        if not keep:
            self._owner.linger()

    def _send(self, answer: Answer, connection: bytes) -> None:
        """A small answer is copied, to wait for `flush`; of a large one the transport gets views."""
        head = head_of(answer, connection)
        if answer.size <= JOINED:
            self._out.append(b"".join((head, *answer.buffers)))
        else:
            self.flush()
            self._lane.write_buffers(self._transport, gathered(head, answer.buffers))

    def _done_with(self, response: InferResponse) -> None:
        """Release a response, as soon as the transport doesn't look into it any more."""
        if self.paused:
            self._held.append(response)
        else:
            response.release()

    def put(self, data: bytes) -> None:
        """Add bytes to what the next `flush` sends."""
        self._out.append(data)

    def flush(self) -> None:
        """Write what was put together."""
        out = self._out
        if out:
            self._out = []
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _flush_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._lane.loop.call_soon(self._flush_late)

    def _flush_late(self) -> None:
        self._scheduled = False
        self.flush()

    def resume(self) -> None:
        """The transport holds no memory of ours any more."""
        self.paused = False
        held, self._held = self._held, []
        for response in held:
            response.release()

    def unsent(self) -> int:
        """Bytes that the transport still holds."""
        return self._transport.get_write_buffer_size()

    def abandon(self) -> None:
        """Nobody reads answers any more: cancel what is under way, release what is done."""
        self._out.clear()
        self.resume()
        queue, self.queue = self.queue, deque()
        for waiting in queue:
            waiting.abandon()
