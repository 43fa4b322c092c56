"""What holds of the dynamic batcher at each moment of any traffic: who goes first, waits how long, is refused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from simulation import World, policies

from pyserver.errors import ServerError, unavailable
from pyserver.payload import Payload, Pending
from pyserver.scheduler.dynamic import DynamicScheduler
from pyserver.scheduler.policy import BatchPolicy, Limits, Priorities, QueuePolicy
from pyserver.scheduler.queue import RequestQueue

ROOMY = Limits(1 << 40, 1 << 60)
UNBOUNDED = QueuePolicy()
LEVELS = 3
DEFAULT = 2
DURATIONS = st.lists(st.integers(1, 90), min_size=1, max_size=3)
POLICIES = policies()  # an adaptive delay is not known beforehand


@dataclass(frozen=True)
class Arrival:
    at: int
    rows: int
    priority: int
    group: str
    left: int
    """Time until its deadline, 0 for none."""


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        at=st.integers(0, 400),
        rows=st.integers(1, 5),
        priority=st.integers(0, LEVELS + 1),
        group=st.sampled_from("ab"),
        left=st.sampled_from([0, 0, 0, 50, 300]),
    ),
    max_size=40,
)
LEAVING = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 59)), max_size=6)


@dataclass
class Traffic:
    """A simulated world that looks at every request that comes and every payload that goes."""

    policy: BatchPolicy
    durations: list[int]
    limits: Limits = ROOMY
    level: QueuePolicy = UNBOUNDED
    world: World = field(default_factory=World)
    sent: dict[Pending, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        world = self.world
        queue = self.queue = RequestQueue("m", self.limits, Priorities(LEVELS, DEFAULT, self.level))
        self.scheduler = DynamicScheduler(
            "m", queue, world.clock, world.call_at, world.statistics, self.policy,
            lambda request: request.parameters["group"],
        )  # fmt: skip
        world.serve(self.scheduler, *self.durations)
        for executor in world.executors:
            executor.execute = self.seen_off(executor.execute)  # type: ignore[method-assign]
        world.submit = self.let_in  # type: ignore[method-assign]

    def run(self, arrivals: list[Arrival], leaving: list[tuple[int, int]]) -> None:
        world = self.world
        for one in arrivals:
            deadline = one.at + one.left if one.left else 0
            world.arrive(one.at, one.rows, one.priority, group=one.group, deadline=deadline)
        for at, number in leaving:
            world.call_at(at, lambda number=number: self.leave(number))
        world.run()
        assert self.scheduler.idle

    def leave(self, number: int) -> None:
        if number < len(self.world.requests):
            self.scheduler.cancel(self.world.requests[number][0])

    def seen_off(self, execute):  # type: ignore[no-untyped-def]
        def seen(payload: Payload) -> None:
            for pending in payload.pendings:
                if pending not in self.sent:
                    self.sent[pending] = None
                    assert all(place(pending) < place(other) for other in self.queue), "nobody is passed over"
            execute(payload)

        return seen

    def let_in(self, pending: Pending) -> None:
        """Refused exactly when its level, or the whole queue, is full."""
        live, level = len(self.queue), [other for other in self.waiting() if place(other)[0] == place(pending)[0]]
        most = self.level.max_queue_size
        full = live >= self.limits.requests or (most and len(level) >= most)
        if full:
            with pytest.raises(ServerError, match="Exceeds maximum queue size"):
                self.scheduler.submit(pending)
            raise unavailable("as it should")
        self.scheduler.submit(pending)

    def waiting(self) -> list[Pending]:
        """Accepted, somebody waits for it, and no executor has begun it."""
        begun = {pending for run in self.world.runs for pending in run.pendings}
        return [
            pending
            for pending, reply in self.world.requests
            if not pending.cancelled and not reply.outcomes and pending not in begun
        ]


def place(pending: Pending) -> tuple[int, int]:
    """Where a request stands in the order: its level, then its number."""
    asked = pending.request.priority
    return asked if 0 < asked <= LEVELS else DEFAULT, int(pending.request.id)


@settings(max_examples=100, deadline=None)
@given(POLICIES, ARRIVALS, DURATIONS, LEAVING)
def test_whoever_goes_is_the_first_of_those_who_wait(
    policy: BatchPolicy, arrivals: list[Arrival], durations: list[int], leaving: list[tuple[int, int]]
) -> None:
    """Levels are strict, and each is served in the order of arrival, whatever the batches look like."""
    Traffic(policy, durations).run(arrivals, leaving)


@settings(max_examples=100, deadline=None)
@given(POLICIES, ARRIVALS, DURATIONS, LEAVING, st.integers(1, 5), st.integers(0, 3))
def test_a_queue_is_full_exactly_at_its_limits(
    policy: BatchPolicy,
    arrivals: list[Arrival],
    durations: list[int],
    leaving: list[tuple[int, int]],
    requests: int,
    level: int,
) -> None:
    Traffic(policy, durations, Limits(requests, 1 << 60), QueuePolicy(max_queue_size=level)).run(arrivals, leaving)


@settings(max_examples=100, deadline=None)
@given(POLICIES, ARRIVALS, DURATIONS, LEAVING)
@example(BatchPolicy(12, (), 200), [Arrival(190 * at, 1, 3 - at, "a", 0) for at in range(3)], [10], [])
def test_no_executor_is_idle_longer_than_a_batch_may_wait(
    policy: BatchPolicy, arrivals: list[Arrival], durations: list[int], leaving: list[tuple[int, int]]
) -> None:
    """Twice the delay at most, once the crowd that was just answered is still coming."""
    traffic = Traffic(policy, durations)
    traffic.run(arrivals, leaving)
    for executor in traffic.world.executors:
        free = 0
        for run in executor.runs:
            oldest = min(pending.arrived_ns for pending in run.pendings)
            assert run.start - max(free, oldest) <= 2 * policy.max_delay_ns
            free = run.start + executor.duration


@settings(max_examples=100, deadline=None)
@given(POLICIES, ARRIVALS, DURATIONS, LEAVING, st.sets(st.integers(0, 59), max_size=3))
def test_answers_keep_the_order_in_which_requests_were_sent(
    policy: BatchPolicy,
    arrivals: list[Arrival],
    durations: list[int],
    leaving: list[tuple[int, int]],
    poisonous: set[int],
) -> None:
    """With preserve_ordering, those that failed and those that were tried again among them."""
    traffic = Traffic(replace(policy, preserve_ordering=True), durations)
    for executor in traffic.world.executors:
        executor.failing = lambda payload: any(int(pending.request.id) in poisonous for pending in payload.pendings)
    traffic.run(arrivals, leaving)
    ran = {pending for run in traffic.world.runs for pending in run.pendings}
    replies = {reply: pending for pending, reply in traffic.world.requests}
    told = [replies[reply] for reply in traffic.world.told if replies[reply] in ran]
    assert told == [pending for pending in traffic.sent if pending in told]
    assert len(told) >= len([pending for pending in ran if not pending.cancelled])
