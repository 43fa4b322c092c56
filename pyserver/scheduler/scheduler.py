"""What all schedulers share: the executors, the queue, the deadlines, and what is told of each request's end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pyserver.errors import ErrorCode, ServerError, internal
from pyserver.payload import Executor, Payload, Pending, Timing
from pyserver.scheduler.queue import RequestQueue, late
from pyserver.types import Clock, InferResponse


class Observer(Protocol):
    """Who counts what the scheduler does: the model's statistics."""

    def executed(self, payload: Payload, timing: Timing, now_ns: int) -> None:
        """`payload` ran, whether its requests succeeded or failed."""

    def rejected(self, pending: Pending, now_ns: int) -> None:
        """`pending` was refused for want of room, or its time was over before it ran."""

    def cancelled(self, pending: Pending, now_ns: int) -> None:
        """Nobody waits for `pending` any more, and it never ran."""

    def lost(self, pending: Pending, now_ns: int) -> None:
        """`pending` failed without having been executed to the end: its instance died, or the model went."""


class Alarm(Protocol):
    """A call that was asked for and may be called off."""

    def cancel(self) -> None:
        """Call it off."""


CallAt = Callable[[int, Callable[[], None]], Alarm]
"""Have something called at a time (monotonic nanoseconds): the loop's business, handed in."""


class Scheduler:
    """Accepts requests and hands payloads to executors; `_pump` is how its kind chooses what goes when.

    It is a `payload.PayloadOwner`: executors report to it.
    """

    def __init__(self, model: str, queue: RequestQueue, clock: Clock, call_at: CallAt, observer: Observer) -> None:
        self._model = model
        self._queue = queue
        self._clock = clock
        self._call_at = call_at
        self._observer = observer
        self._executors: list[Executor] = []
        self._closed: ServerError | None = None
        self._alarm: Alarm | None = None
        self._alarm_ns = 0
        self.running = 0
        queue.ahead = self._ahead

    @property
    def waiting(self) -> int:
        """Requests that wait: in the queue, or sent ahead and not begun."""
        return len(self._queue) + len(self._ahead())

    @property
    def waiting_bytes(self) -> int:
        """Bytes of their inputs."""
        return self._queue.nbytes + sum([pending.nbytes for pending in self._ahead()])

    @property
    def idle(self) -> bool:
        """Whether there is nothing to wait for before the model may go."""
        return not self.running and not len(self._queue)

    @property
    def observer(self) -> Observer:
        """Who counts what it does."""
        return self._observer

    @observer.setter
    def observer(self, observer: Observer) -> None:
        self._observer = observer

    def add(self, executor: Executor) -> None:
        """`executor` takes payloads from now on."""
        self._executors.append(executor)
        self._pump(self._clock())

    def remove(self, executor: Executor) -> None:
        """`executor` gets no more payloads; those that it has are still heard of."""
        if executor in self._executors:
            self._executors.remove(executor)

    def submit(self, pending: Pending) -> None:
        """Run `pending`, or let it wait; a ServerError (UNAVAILABLE) when the queue is full, the model is going, or the
        time of the request that it is part of is over.
        """
        if self._closed is not None:
            raise self._closed
        try:
            self._queue.push(pending)
        except ServerError:
            self._observer.rejected(pending, pending.arrived_ns)
            raise
        self._pump(pending.arrived_ns)
        if pending.deadline_ns:
            self._wake_at(pending.deadline_ns)

    def cancel(self, pending: Pending) -> None:
        """Nobody waits for `pending` any more: it is dropped if it waits, and told to the model if it runs."""
        if pending.done or pending.cancelled:
            return
        pending.cancelled = True
        if pending.waiting:
            self._queue.forget(pending)
            self._observer.cancelled(pending, self._clock())
        elif pending.payload is not None and pending.payload.executor is not None:
            pending.payload.executor.cancel(pending)

    def wake(self) -> None:
        """An executor that had no room may have some now."""
        self._pump(self._clock())

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
            self._observer.lost(pending, now)
            self.failed(pending, error)

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

    def dropped(self, pending: Pending) -> None:
        """A request that was cancelled after it was sent has not run."""
        pending.payload = None
        if pending.cancelled and not pending.done:
            pending.done = True
            self._observer.cancelled(pending, self._clock())
        elif not pending.done:
            self.failed(pending, internal(f"model '{self._model}': a request was dropped that nobody had cancelled"))

    def rescheduled(self, pending: Pending) -> None:
        """The model wants `pending` again: it goes behind what waits."""
        pending.payload = None
        if pending.cancelled:
            pending.done = True
            self._observer.cancelled(pending, self._clock())
        else:
            self._queue.requeue(pending)

    def executed(self, payload: Payload, timing: Timing | None) -> None:
        """An executor has room again."""
        self.running -= 1
        now = self._clock()
        if timing is not None:
            self._observer.executed(payload, timing, now)
        else:
            for pending in payload.pendings:
                if pending.payload is payload:
                    self._observer.lost(pending, now)
        # Who is done points at each other no more: memory comes back without the garbage collector.
        for pending in payload.pendings:
            if pending.done:
                pending.payload = None
        if len(self._queue):
            self._pump(now)

    def returned(self, payload: Payload) -> None:
        """An executor gave back what it had not begun: it goes to the head of the queue."""
        self.running -= 1
        now = self._clock()
        for pending in payload.pendings:
            pending.payload = None
            if pending.cancelled:
                self._observer.cancelled(pending, now)
        self._queue.push_back(payload.pendings)
        self._pump(now)
        self._wake_at(self._queue.next_expiry())

    def _pump(self, now_ns: int) -> None:
        """Send what should go now."""
        raise NotImplementedError

    def _send(self, pendings: list[Pending], executor: Executor) -> None:
        payload = Payload(pendings, self)
        payload.executor = executor
        self.running += 1
        executor.execute(payload)

    def _least_loaded(self, now_ns: int) -> Executor | None:
        """The executor with the least to do among those that have room."""
        best = None
        for executor in self._executors:
            if (best is None or executor.load < best.load) and executor.room(now_ns):
                best = executor
        return best

    def _wake_at(self, when_ns: int) -> None:
        """See to it that `_awake` is called at `when_ns` (0 for never), if not before."""
        if not when_ns or (self._alarm is not None and self._alarm_ns <= when_ns):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ns = when_ns
        self._alarm = self._call_at(when_ns, self._awake)

    def _awake(self) -> None:
        self._alarm = None
        now = self._clock()
        for pending in self._queue.expired(now):
            self._expire(pending, now)
        self._pump(now)
        self._wake_at(self._queue.next_expiry())

    def _expire(self, pending: Pending, now_ns: int) -> None:
        """The time of `pending` is over: reject it, unless it runs already."""
        if pending.payload is not None:
            executor = pending.payload.executor
            if executor is None or not executor.withdraw(pending):
                return
            pending.cancelled, pending.payload = True, None
        self._observer.rejected(pending, now_ns)
        pending.done = pending.failed = True
        pending.reply.fail(self._late())

    def _late(self) -> ServerError:
        return late(self._model)

    def _ahead(self) -> list[Pending]:
        """What was sent and has not begun."""
        return [pending for executor in self._executors for pending in executor.ahead()]


def closed(model: str, why: str) -> ServerError:
    """The refusal of a model that is going, or has no instance."""
    return ServerError(ErrorCode.UNAVAILABLE, f"model '{model}' is not at ready state: {why}")
