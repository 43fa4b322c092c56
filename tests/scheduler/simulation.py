"""A world for schedulers: a clock that jumps from event to event, executors that take their time, and replies."""

from __future__ import annotations

import heapq
import itertools
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pyserver.errors import ErrorCode, ServerError, internal
from pyserver.model.statistics import Statistics
from pyserver.payload import Payload, Pending, Raised, Timing
from pyserver.scheduler.policy import BatchPolicy
from pyserver.scheduler.scheduler import Scheduler
from pyserver.types import InferRequest, InferResponse, Tensor


def policies(**more: SearchStrategy[bool]) -> SearchStrategy[BatchPolicy]:
    """Policies of small batches, with `more` of their fields drawn than the usual ones."""
    return st.builds(
        BatchPolicy,
        max_rows=st.integers(5, 12),
        preferred=st.sampled_from([(), (2,), (3, 5)]),
        max_delay_ns=st.sampled_from([0, 20, 200]),
        preserve_ordering=st.booleans(),
        retry=st.booleans(),
        **more,
    )


class Reply:
    """What came back, and when."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.outcomes: list[tuple[int, InferResponse | ServerError]] = []

    def answer(self, response: InferResponse, final: bool) -> None:
        self._tell(response)

    def fail(self, error: ServerError) -> None:
        self._tell(error)

    def _tell(self, outcome: InferResponse | ServerError) -> None:
        self.outcomes.append((self._world.now, outcome))
        self._world.told.append(self)


class Alarm:
    def __init__(self) -> None:
        self.off = False

    def cancel(self) -> None:
        self.off = True


@dataclass(eq=False)
class Run:
    """A payload that an executor began: when, and with what."""

    start: int
    payload: Payload
    pendings: list[Pending]


class World:
    """Time, and what is to happen in it."""

    def __init__(self) -> None:
        self.now = 0
        self._events: list[tuple[int, int, Alarm, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.statistics = Statistics(wall_clock=lambda: 0.0)
        self.requests: list[tuple[Pending, Reply]] = []
        self.refused: list[tuple[int, ServerError]] = []
        self.told: list[Reply] = []
        self.executors: list[SlowExecutor] = []
        self.scheduler: Scheduler

    def clock(self) -> int:
        return self.now

    def call_at(self, when: int, call: Callable[[], None]) -> Alarm:
        alarm = Alarm()
        heapq.heappush(self._events, (max(when, self.now), next(self._numbers), alarm, call))
        return alarm

    def run(self) -> None:
        """Let everything happen."""
        while self._events:
            self.now, _, alarm, call = heapq.heappop(self._events)
            if not alarm.off:
                call()

    def submit(self, pending: Pending) -> None:
        self.scheduler.submit(pending)

    def serve(self, scheduler: Scheduler, *durations: int, depth: int = 2) -> None:
        """Let executors that take `durations` work for `scheduler`."""
        self.scheduler = scheduler
        for number, duration in enumerate(durations):
            executor = SlowExecutor(self, f"m_0_{number}", duration, depth)
            self.executors.append(executor)
            scheduler.add(executor)

    def arrive(
        self,
        at: int,
        rows: int = 1,
        priority: int = 0,
        timeout_us: int = 0,
        group: str = "",
        sequence: int | str = 0,
        flags: int = 0,
        deadline: int = 0,
    ) -> None:
        """Have a request come at time `at`; `group` is what decides who may share a batch with it."""

        def come() -> None:
            request = InferRequest("m", id=str(len(self.requests)), priority=priority, timeout_us=timeout_us)
            request.parameters["group"] = group
            request.correlation_id, request.flags = sequence, flags
            request.deadline_ns = deadline
            request.inputs = [Tensor("X", "INT32", (1, 1), struct.pack("<i", len(self.requests)))]
            reply = Reply(self)
            pending = Pending(request, reply, self.now, rows, 8 * rows)
            try:
                self.submit(pending)
            except ServerError as error:
                self.refused.append((self.now, error))
            else:
                self.requests.append((pending, reply))

        self.call_at(at, come)

    @property
    def runs(self) -> list[Run]:
        """Everything that was executed, in the order in which it was begun."""
        return sorted((run for executor in self.executors for run in executor.runs), key=lambda run: run.start)


@dataclass(eq=False)
class SlowExecutor:
    """Runs one payload after another, each for `duration`; holds `depth` of them at most."""

    world: World
    name: str
    duration: int
    depth: int
    runs: list[Run] = field(default_factory=list)
    held: deque[Payload] = field(default_factory=deque)
    failing: Callable[[Payload], bool] = lambda payload: False
    reschedules: Callable[[Pending], bool] = lambda pending: False
    answer: Callable[[Pending], list[Tensor]] = lambda pending: []
    finishing: Alarm | None = None
    begun: list[Pending] = field(default_factory=list)

    @property
    def load(self) -> int:
        return len(self.held)

    def room(self, now_ns: int) -> bool:
        return len(self.held) < self.depth

    def cancel(self, pending: Pending) -> None:
        """What has not begun is dropped when it would begin: `cancelled` says so."""

    def withdraw(self, pending: Pending) -> bool:
        if pending.payload is None or pending.payload is self.held[0]:
            return False
        return pending.payload in self.held

    def ahead(self) -> list[Pending]:
        return [pending for payload in list(self.held)[1:] for pending in payload.pendings if not pending.cancelled]

    def execute(self, payload: Payload) -> None:
        self.held.append(payload)
        if len(self.held) == 1:
            self._begin()

    def die(self) -> None:
        """What had begun fails, what had not is returned, the newest first."""
        if self.finishing is not None:
            self.finishing.cancel()
        held, self.held = list(self.held), deque()
        for payload in reversed(held[1:]):
            payload.owner.returned(payload)
        for payload in held[:1]:
            for pending in payload.pendings:
                if not pending.done:
                    payload.owner.failed(pending, internal("died"))
            payload.owner.executed(payload, None)

    def _begin(self) -> None:
        payload = self.held[0]
        self.begun = [pending for pending in payload.pendings if not pending.cancelled]
        if self.begun:
            self.runs.append(Run(self.world.now, payload, list(self.begun)))
        took = self.duration if self.begun else 0
        self.finishing = self.world.call_at(self.world.now + took, self._finish)

    def _finish(self) -> None:
        payload, begun = self.held[0], self.begun
        start = self.world.now - self.duration
        failing = self.failing(payload)
        answers = [InferResponse("m", "1", pending.request.id, self.answer(pending)) for pending in begun]
        for pending in payload.pendings:
            if pending not in begun:
                payload.owner.dropped(pending)
            elif failing:
                payload.owner.failed(pending, Raised(ErrorCode.INTERNAL, "execute raised"))
            elif self.reschedules(pending):
                payload.owner.rescheduled(pending)
            else:
                payload.owner.answered(pending, answers[begun.index(pending)], final=True)
        self.held.popleft()
        if self.held:
            self._begin()
        payload.owner.executed(payload, Timing(start, 0, self.duration if begun else 0, 0))
