"""The answering half of a connection: answers in the order of their requests, few writes, memory given back on time."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.rest.infer import Answer, failure, finish
from pyserver.frontend.rest.lane.answer import JOINED, connection_line, gathered, head_of
from pyserver.frontend.rest.lane.head import Head
from pyserver.types import InferRequest, InferResponse

if TYPE_CHECKING:
    from pyserver.frontend.rest.lane.server import LaneServer

Waiting: TypeAlias = "tuple[asyncio.Future[InferResponse] | None, InferRequest | Answer, Head | None, float]"
"""What is to be answered: the future of a request; or, without one, the answer itself. The head, None for what was no
request; the monotonic time when it came, 0 where nobody logs it."""


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

    __slots__ = ("_held", "_lane", "_out", "_owner", "_transport", "paused", "queue")

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

    def say(
        self, future: asyncio.Future[InferResponse] | None, request: InferRequest | Answer, head: Head | None
    ) -> None:
        """Answer when the turn comes, which may be now; then `flush` sends it."""
        lane = self._lane
        now = 0.0 if lane.access_log is None else monotonic()
        if future is not None and not future.done():
            future.add_done_callback(self.ready)
        elif not self.queue and not self.paused:
            self._answer(future, request, head, now)
            return
        self.queue.append((future, request, head, now))

    def ready(self, _: object = None) -> None:
        """Give all answers whose turn it is. Several futures done in one turn of the loop become one write."""
        queue = self.queue
        while queue and not self.paused:
            future, request, head, started = queue[0]
            if future is not None and not future.done():
                break
            queue.popleft()
            self._answer(future, request, head, started)
        if self._out:
            self.flush()
        self._owner.answered()

    def _answer(
        self,
        future: asyncio.Future[InferResponse] | None,
        request: InferRequest | Answer,
        head: Head | None,
        started: float,
    ) -> None:
        response: InferResponse | None = None
        try:
            if isinstance(request, Answer):
                answer = request
            else:
                assert future is not None
                let_go(request)
                response = future.result()
                answer = finish(request, response, None)
        except asyncio.CancelledError:
            answer = failure(ServerError(ErrorCode.CANCELLED, "the request was cancelled"))
        except Exception as error:
            answer = failure(error, "" if isinstance(request, Answer) else request.id)
        keep = self._owner.persists(head)
        try:
            self._send(answer, connection_line(keep, head is not None and head.http_1_0))
        finally:
            self._done_with(response)
        if self._lane.access_log is not None and head is not None:
            asked = request.id if isinstance(request, InferRequest) else ""
            self._lane.log_answer(self._owner.remote_ip, head, answer.status, answer.size, started, asked)
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

    def _done_with(self, response: InferResponse | None) -> None:
        """Release a response, as soon as the transport doesn't look into it any more."""
        if response is None:
            return
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
        for future, request, _, _ in queue:
            if future is not None and isinstance(request, InferRequest):
                if not future.cancel() and not future.cancelled() and future.exception() is None:
                    future.result().release()
                let_go(request)


def let_go(request: InferRequest) -> None:
    """Nobody waits for `request` any more: its body's memory is not needed for our sake."""
    lease = request.lease
    if lease is not None:
        lease.release()
