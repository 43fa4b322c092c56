"""The dynamic batcher: requests that came apart run together (ModelDynamicBatching).

An idle instance gets a batch when it is as large as it may usefully be, or when its oldest request has waited long
enough. A busy instance with room gets its next batch ahead of time, so that it never waits for the server, but only a
full one: anything less may still grow until the instance is free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

from pyserver.errors import ServerError
from pyserver.payload import Executor, Payload, Pending, Raised, Timing
from pyserver.scheduler.adaptive import AdaptiveDelay
from pyserver.scheduler.ordering import Ordering
from pyserver.scheduler.policy import BatchPolicy
from pyserver.scheduler.queue import RequestQueue
from pyserver.scheduler.scheduler import CallAt, Observer, Scheduler
from pyserver.types import Clock, InferRequest, InferResponse

BatchKey = Callable[[InferRequest], Hashable]
"""Requests with equal keys may share a batch."""


class Retry(Payload):
    """One request of a batch that failed as a whole, on its second and last try, alone."""

    __slots__ = ()


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
        self._ordering = Ordering() if policy.preserve_ordering else None
        self._wait_until = 0
        self._freed_ns = 0
        self._came_ns = 0
        self._worth_ns = 0
        self._singly: deque[Pending] = deque()  # to be retried, each alone
        self._adaptive = AdaptiveDelay() if policy.adaptive else None

    @property
    def waiting(self) -> int:
        """Requests that wait, those that will be retried among them."""
        return super().waiting + len(self._singly)

    @property
    def idle(self) -> bool:
        """As any scheduler's."""
        return super().idle and not self._singly

    def submit(self, pending: Pending) -> None:
        """As any scheduler's."""
        self._came_ns = pending.arrived_ns
        if self._adaptive is not None:
            self._adaptive.arrived(pending.arrived_ns, pending.rows)
        super().submit(pending)

    def abandon(self, error: ServerError) -> None:
        """As any scheduler's."""
        super().abandon(error)
        now = self._clock()
        while self._singly:
            pending = self._singly.popleft()
            self._observer.lost(pending, now)
            self.failed(pending, error)

    def _pump(self, now_ns: int) -> None:
        if self._singly:
            self._retry(now_ns)
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
                # All that wait go together: the oldest need not be the first of them, where there are priorities.
                self._wait_until = self._latest(min([pending.arrived_ns for pending in queue]))
                if now_ns < self._wait_until:
                    self._wake_at(self._wait_until)
                    return
            self._dispatch(count, executor)

    def _latest(self, oldest_ns: int) -> int:
        """When a batch goes whose oldest request came at `oldest_ns`, however small it is.

        Those whose answers have just gone out are often the next to ask: a batch that outwaited its delay behind a busy
        instance waits for them once more, for half an execution at most. Two crowds that take turns become one batch.
        While they are still coming then, it waits for the rest, at most twice the delay or three quarters of an
        execution: whoever was left behind would miss the next batch again, and all be served in two.
        """
        delay = self._delay_ns()
        wait = min(delay, self._worth_ns)
        until = self._freed_ns + wait
        if wait and self._came_ns > until - (wait >> 1):
            until = min(self._came_ns + (wait >> 1), self._freed_ns + min(2 * delay, 3 * self._worth_ns >> 1))
        return max(oldest_ns + delay, until)

    def _delay_ns(self) -> int:
        policy = self._policy
        if self._adaptive is None:
            return policy.max_delay_ns
        return self._adaptive.delay_ns(self._queue.rows, policy.goal, policy.max_delay_ns)

    def _retry(self, now_ns: int) -> None:
        """Send what is to run alone, before anything else."""
        while self._singly:
            executor = self._least_loaded(now_ns)
            if executor is None:
                return
            pending = self._singly.popleft()
            if pending.cancelled:
                pending.done = True
                self._observer.cancelled(pending, now_ns)
                continue
            payload = Retry([pending], self)
            payload.executor = executor
            self.running += 1
            executor.execute(payload)

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
        if self._ordering is not None:
            self._ordering.sent(batch)
        self._wait_until = 0
        self._send(batch, executor)

    def answered(self, pending: Pending, response: InferResponse, final: bool) -> None:
        """Pass an answer on, in order if so configured."""
        if self._ordering is None:
            super().answered(pending, response, final)
            return
        pending.done = pending.done or final
        self._ordering.tell(pending, lambda: pending.reply.answer(response, final))

    def failed(self, pending: Pending, error: ServerError) -> None:
        """Pass a failure on, in order if so configured; or try again alone what failed in company."""
        payload = pending.payload
        if self._policy.retry and isinstance(error, Raised) and payload is not None and len(payload.pendings) > 1:
            pending.payload = None
            self._singly.append(pending)
        elif payload is None or self._ordering is None:
            super().failed(pending, error)
        else:
            pending.done = pending.failed = True
            self._ordering.tell(pending, lambda: pending.reply.fail(error))

    def returned(self, payload: Payload) -> None:
        """As any scheduler's; what was to run alone still does."""
        if isinstance(payload, Retry):
            self.running -= 1
            payload.pendings[0].payload = None
            self._singly.appendleft(payload.pendings[0])
            self._pump(self._clock())
            return
        if self._ordering is not None:
            self._ordering.returned(payload.pendings)
        super().returned(payload)

    def executed(self, payload: Payload, timing: Timing | None) -> None:
        """As any scheduler's; whoever was cancelled holds nobody up."""
        if self._adaptive is not None and timing is not None:
            self._adaptive.executed(timing.infer_ns)
        self._freed_ns = self._clock()
        self._worth_ns = timing.infer_ns >> 1 if timing is not None else 0
        super().executed(payload, timing)
        if self._singly:
            self._pump(self._clock())
        if self._ordering is not None:
            self._ordering.release()
