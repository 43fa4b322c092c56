"""The dynamic batcher: requests that came apart run together (ModelDynamicBatching).

An idle instance gets a batch when it is as large as it may usefully be, or when its oldest request has waited long
enough. A busy instance with room gets its next batch ahead of time, so that it never waits for the server, but only a
full one: anything less may still grow until the instance is free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

from pyserver.errors import ServerError
from pyserver.payload import Executor, Payload, Pending, Timing
from pyserver.scheduler.policy import BatchPolicy
from pyserver.scheduler.queue import RequestQueue
from pyserver.scheduler.scheduler import CallAt, Observer, Scheduler
from pyserver.types import Clock, InferRequest, InferResponse

BatchKey = Callable[[InferRequest], Hashable]
"""Requests with equal keys may share a batch."""


class DynamicScheduler(Scheduler):
    """Forms batches of at most `policy.max_rows` rows, of requests with equal keys, in the order of the queue."""

    def __init__(
        self,
        model: str,
        queue: RequestQueue,
        clock: Clock,
        call_at: CallAt,
        observer: Observer,
        policy: BatchPolicy,
        key: BatchKey,
    ) -> None:
        super().__init__(model, queue, clock, call_at, observer)
        self._policy = policy
        self._preferred = frozenset(policy.preferred)
        self._key = key
        self._order: deque[Pending] = deque()
        self._held: dict[Pending, list[Callable[[], None]]] = {}
        self._wait_until = 0

    def _pump(self, now_ns: int) -> None:
        queue = self._queue
        while len(queue):
            executor = self._least_loaded(now_ns)
            if executor is None or (executor.load and queue.rows < self._policy.goal):
                return
            if now_ns < self._wait_until and queue.rows < self._policy.goal:
                self._wake_at(self._wait_until)
                return
            count, complete = self._form()
            if not complete:
                if executor.load:
                    return
                oldest = next(iter(queue))
                self._wait_until = oldest.arrived_ns + self._policy.max_delay_ns
                if now_ns < self._wait_until:
                    self._wake_at(self._wait_until)
                    return
            self._dispatch(count, executor)

    def _form(self) -> tuple[int, bool]:
        """How many requests from the head of the queue make the next batch, and whether waiting could not better it."""
        policy = self._policy
        rows = count = best = 0
        key: Hashable = None
        for pending in self._queue:
            mine = self._key(pending.request)
            if count and (rows + pending.rows > policy.max_rows or mine != key):
                return best or count, True
            key = mine
            count += 1
            rows += pending.rows
            if rows in self._preferred:
                best = count
            if rows >= policy.goal:
                return best or count, True
        return count, False

    def _dispatch(self, count: int, executor: Executor) -> None:
        batch: list[Pending] = []
        while len(batch) < count and (pending := self._queue.pop()) is not None:
            batch.append(pending)
        if self._policy.preserve_ordering:
            self._order.extend(batch)
        self._wait_until = 0
        self._send(batch, executor)

    # preserve_ordering: an answer is held until all that were sent before it have had theirs.

    def answered(self, pending: Pending, response: InferResponse, final: bool) -> None:
        """Pass an answer on, in order if so configured."""
        if not self._policy.preserve_ordering:
            super().answered(pending, response, final)
            return
        pending.done = pending.done or final
        self._tell(pending, lambda: pending.reply.answer(response, final))

    def failed(self, pending: Pending, error: ServerError) -> None:
        """Pass a failure on, in order if so configured."""
        if pending.payload is None or not self._policy.preserve_ordering:
            super().failed(pending, error)
            return
        pending.done = pending.failed = True
        self._tell(pending, lambda: pending.reply.fail(error))

    def returned(self, payload: Payload) -> None:
        """What comes back is in no order any more until it is sent again."""
        for pending in payload.pendings:
            if pending in self._order:
                self._order.remove(pending)
        super().returned(payload)
        self._release()

    def executed(self, payload: Payload, timing: Timing | None) -> None:
        """As any scheduler's; whoever was cancelled holds nobody up."""
        super().executed(payload, timing)
        self._release()

    def _tell(self, pending: Pending, outcome: Callable[[], None]) -> None:
        self._held.setdefault(pending, []).append(outcome)
        self._release()

    def _release(self) -> None:
        while self._order:
            head = self._order[0]
            for outcome in self._held.pop(head, ()):
                outcome()
            if not head.done:
                return
            self._order.popleft()
