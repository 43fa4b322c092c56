"""The default scheduler: one request a payload, in the order of arrival, to whichever instance has room."""

from __future__ import annotations

from typing import Protocol

from pyserver.errors import ErrorCode, ServerError
from pyserver.payload import Executor, Payload, Pending, Timing
from pyserver.scheduler.queue import Limits, RequestQueue
from pyserver.types import Clock, InferResponse


class Observer(Protocol):
    """Who counts what the scheduler does: the model's statistics."""

    def executed(self, payload: Payload, timing: Timing, now_ns: int) -> None:
        """`payload` ran, whether its requests succeeded or failed."""

    def rejected(self, pending: Pending, now_ns: int) -> None:
        """`pending` was refused for want of room."""

    def cancelled(self, pending: Pending, now_ns: int) -> None:
        """Nobody waits for `pending` any more, and it never ran."""

    def lost(self, pending: Pending, now_ns: int) -> None:
        """`pending` failed without having been executed to the end: its instance died, or the model went."""


class DirectScheduler:
    """Hands each request to an executor as soon as one has room; until then it waits in a bounded queue."""

    def __init__(self, model: str, limits: Limits, clock: Clock, observer: Observer) -> None:
        self._queue = RequestQueue(model, limits)
        self._clock = clock
        self._observer = observer
        self._executors: list[Executor] = []
        self._closed: ServerError | None = None
        self.running = 0

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of their inputs."""
        return self._queue.nbytes

    @property
    def idle(self) -> bool:
        """Whether there is nothing to wait for before the model may go."""
        return not self.running and not self._queue

    def add(self, executor: Executor) -> None:
        """`executor` takes payloads from now on."""
        self._executors.append(executor)
        self._pump()

    def remove(self, executor: Executor) -> None:
        """`executor` gets no more payloads; those that it has are still heard of."""
        if executor in self._executors:
            self._executors.remove(executor)

    def submit(self, pending: Pending) -> None:
        """Run `pending`, or let it wait; a ServerError (UNAVAILABLE) when the queue is full or the model is going."""
        if self._closed is not None:
            raise self._closed
        if not self._queue and (executor := self._free(pending.arrived_ns)) is not None:
            self._send(pending, executor)
            return
        try:
            self._queue.push(pending)
        except ServerError:
            self._observer.rejected(pending, pending.arrived_ns)
            raise

    def cancel(self, pending: Pending) -> None:
        """Nobody waits for `pending` any more: it is dropped if it waits, and told to the model if it runs."""
        if pending.done or pending.cancelled:
            return
        pending.cancelled = True
        payload = pending.payload
        if payload is None:
            self._queue.forget(pending)
            self._observer.cancelled(pending, self._clock())
        elif payload.executor is not None:
            payload.executor.cancel(pending)

    def close(self, error: ServerError) -> None:
        """Refuse what comes from now on with `error`; what was accepted still runs."""
        self._closed = error

    def open(self) -> None:
        """Accept again."""
        self._closed = None

    def abandon(self, error: ServerError) -> None:
        """Fail all that waits: there is no executor left to run it, and none to come soon."""
        now = self._clock()
        for pending in self._queue.drain():
            self._fail(pending, error, now)

    # What executors report, as payload.PayloadOwner.

    def answered(self, pending: Pending, response: InferResponse, final: bool) -> None:
        """Pass an answer on."""
        if final:
            pending.done = True
        pending.reply.answer(response, final)

    def failed(self, pending: Pending, error: ServerError) -> None:
        """Pass a failure on."""
        pending.done = pending.failed = True
        pending.reply.fail(error)

    def executed(self, payload: Payload, timing: Timing | None) -> None:
        """An executor has room again."""
        self.running -= 1
        now = self._clock()
        if timing is not None:
            self._observer.executed(payload, timing, now)
        else:
            for pending in payload.pendings:
                self._observer.lost(pending, now)
        if self._queue:
            self._pump()

    def returned(self, payload: Payload) -> None:
        """An executor gave back what it had not begun: it goes to the head of the queue."""
        self.running -= 1
        now = self._clock()
        for pending in payload.pendings:
            pending.payload = None
            if pending.cancelled:
                self._observer.cancelled(pending, now)
        self._queue.push_back(payload.pendings)
        self._pump()

    def _pump(self) -> None:
        now = self._clock()
        while self._queue and (executor := self._free(now)) is not None:
            pending = self._queue.pop()
            if pending is None:
                return
            self._send(pending, executor)

    def _free(self, now_ns: int) -> Executor | None:
        """The executor with the least to do among those that have room."""
        best = None
        for executor in self._executors:
            if executor.room(now_ns) and (best is None or executor.load < best.load):
                best = executor
        return best

    def _send(self, pending: Pending, executor: Executor) -> None:
        payload = Payload([pending], self)
        payload.executor = executor
        self.running += 1
        executor.execute(payload)

    def _fail(self, pending: Pending, error: ServerError, now_ns: int) -> None:
        pending.done = True
        self._observer.lost(pending, now_ns)
        pending.reply.fail(error)


def closed(model: str, why: str) -> ServerError:
    """The refusal of a model that is going."""
    return ServerError(ErrorCode.UNAVAILABLE, f"model '{model}' is not at ready state: {why}")
