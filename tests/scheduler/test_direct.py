"""The direct scheduler under simulated traffic: any order of arrivals, completions, cancellations and deaths."""

from __future__ import annotations

import itertools
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.errors import ErrorCode, ServerError, internal
from pyserver.model.statistics import Statistics
from pyserver.payload import Payload, Pending, Timing
from pyserver.scheduler.direct import DirectScheduler
from pyserver.scheduler.policy import Limits
from pyserver.scheduler.queue import RequestQueue
from pyserver.scheduler.scheduler import closed
from pyserver.types import InferRequest, InferResponse

ROOMY = Limits(10_000, 1 << 40)


class FakeReply:
    def __init__(self) -> None:
        self.outcomes: list[InferResponse | ServerError] = []

    def answer(self, response: InferResponse, final: bool) -> None:
        self.outcomes.append(response)

    def fail(self, error: ServerError) -> None:
        self.outcomes.append(error)


class FakeExecutor:
    """Holds what it was given until told to finish it; `depth` payloads at most."""

    def __init__(self, name: str, depth: int) -> None:
        self.name = name
        self.depth = depth
        self.held: deque[Payload] = deque()
        self.seen: list[str] = []
        self.cancelled: list[Pending] = []

    @property
    def load(self) -> int:
        return len(self.held)

    def room(self, now_ns: int) -> bool:
        return len(self.held) < self.depth

    def execute(self, payload: Payload) -> None:
        self.held.append(payload)
        self.seen += [pending.request.id for pending in payload.pendings]

    def cancel(self, pending: Pending) -> None:
        self.cancelled.append(pending)

    def withdraw(self, pending: Pending) -> bool:
        return False

    def ahead(self) -> list[Pending]:
        return [pending for payload in list(self.held)[1:] for pending in payload.pendings]

    def finish(self, error: ServerError | None = None) -> None:
        payload = self.held.popleft()
        for pending in payload.pendings:
            if error is not None:
                payload.owner.failed(pending, error)
            else:
                payload.owner.answered(pending, InferResponse("m", "1", pending.request.id), final=True)
        payload.owner.executed(payload, Timing(0, 1, 2, 3))

    def die(self) -> None:
        """What it had begun fails; what it had not is returned, the newest first."""
        begun = self.held.popleft() if self.held else None
        if begun is not None:
            for pending in begun.pendings:
                begun.owner.failed(pending, internal("died"))
            begun.owner.executed(begun, None)
        held, self.held = list(self.held), deque()
        for payload in reversed(held):
            payload.owner.returned(payload)


def no_alarms(when_ns: int, call: object) -> None:
    raise AssertionError("nothing here has a deadline")


class Traffic:
    """A scheduler with fake executors, and a record of every request."""

    def __init__(self, depths: list[int], limits: Limits = ROOMY) -> None:
        self.now = 0
        self.statistics = Statistics(wall_clock=lambda: 0.0)
        queue = RequestQueue("m", limits)
        self.scheduler = DirectScheduler("m", queue, lambda: self.now, no_alarms, self.statistics)
        self.executors = [FakeExecutor(f"m_0_{number}", depth) for number, depth in enumerate(depths)]
        for executor in self.executors:
            self.scheduler.add(executor)
        self.requests: list[tuple[Pending, FakeReply]] = []
        self.numbers = itertools.count()

    def arrive(self, nbytes: int = 8) -> tuple[Pending, FakeReply]:
        self.now += 1
        reply = FakeReply()
        pending = Pending(InferRequest("m", id=str(next(self.numbers))), reply, self.now, 1, nbytes)
        self.scheduler.submit(pending)
        self.requests.append((pending, reply))
        return pending, reply


def test_a_free_executor_gets_the_request_at_once() -> None:
    traffic = Traffic([1])
    _, reply = traffic.arrive()
    assert traffic.executors[0].load == 1
    traffic.executors[0].finish()
    assert [outcome.id for outcome in reply.outcomes] == ["0"]
    assert traffic.scheduler.idle


def test_the_least_loaded_executor_is_chosen() -> None:
    traffic = Traffic([2, 2])
    for _ in range(3):
        traffic.arrive()
    assert sorted(executor.load for executor in traffic.executors) == [1, 2]


def test_a_full_queue_refuses_by_number_and_names_the_flag() -> None:
    traffic = Traffic([1], Limits(2, 1 << 40))
    for _ in range(3):
        traffic.arrive()
    with pytest.raises(
        ServerError, match=r"Exceeds maximum queue size for model 'm': 2 requests wait, --max-queue-requests"
    ) as caught:
        traffic.arrive()
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert caught.value.retry_after
    assert traffic.statistics.failures["REJECTED"] == 1
    assert traffic.scheduler.waiting == 2


def test_a_full_queue_refuses_by_bytes() -> None:
    traffic = Traffic([1], Limits(100, 20))
    traffic.arrive()
    traffic.arrive(16)
    with pytest.raises(ServerError, match="16 bytes wait and this request has 8, --max-queue-bytes allows 20"):
        traffic.arrive(8)
    assert traffic.scheduler.waiting_bytes == 16


def test_one_request_larger_than_the_limit_may_wait_alone() -> None:
    traffic = Traffic([1], Limits(100, 20))
    traffic.arrive()
    traffic.arrive(1000)
    assert traffic.scheduler.waiting == 1


def test_a_cancelled_request_that_waits_never_runs() -> None:
    traffic = Traffic([1])
    traffic.arrive()
    waiting, _ = traffic.arrive()
    traffic.scheduler.cancel(waiting)
    traffic.scheduler.cancel(waiting)
    assert traffic.scheduler.waiting == 0
    traffic.executors[0].finish()
    assert traffic.executors[0].seen == ["0"]
    assert traffic.statistics.failures["CANCELED"] == 1


def test_a_cancelled_request_that_runs_is_told_to_its_executor() -> None:
    traffic = Traffic([1])
    running, _ = traffic.arrive()
    traffic.scheduler.cancel(running)
    assert traffic.executors[0].cancelled == [running]


def test_what_a_dead_executor_had_not_begun_runs_elsewhere_in_order() -> None:
    traffic = Traffic([3])
    for _ in range(5):
        traffic.arrive()
    dead, heir = traffic.executors[0], FakeExecutor("m_0_1", 10)
    traffic.scheduler.remove(dead)
    dead.die()
    traffic.scheduler.add(heir)
    assert heir.seen == ["1", "2", "3", "4"]
    assert traffic.statistics.failures["OTHER"] == 1


def test_abandon_fails_all_that_waits() -> None:
    traffic = Traffic([1])
    traffic.arrive()
    _, reply = traffic.arrive()
    error = closed("m", "no instance lives")
    traffic.scheduler.close(error)
    traffic.scheduler.abandon(error)
    assert reply.outcomes == [error]
    with pytest.raises(ServerError, match="model 'm' is not at ready state: no instance lives"):
        traffic.arrive()


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["arrive", "finish", "fail", "cancel", "die"]), st.integers(0, 30)), max_size=120
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), ACTIONS)
def test_no_request_is_lost_answered_twice_or_overtaken(depths: list[int], actions: list[tuple[str, int]]) -> None:
    traffic = Traffic(depths)
    for action, number in actions:
        perform(traffic, action, number)
    while any(executor.held for executor in traffic.executors):
        for executor in traffic.executors:
            if executor.held:
                executor.finish()
    assert traffic.scheduler.idle
    assert traffic.scheduler.waiting_bytes == 0
    for pending, reply in traffic.requests:
        assert len(reply.outcomes) == (0 if pending.cancelled and not pending.done else 1)
    if len(depths) == 1:
        ran = [int(name) for name in dict.fromkeys(traffic.executors[0].seen)]
        assert ran == sorted(ran)
    counted = traffic.statistics
    assert counted.success + counted.fail == len(traffic.requests)


def perform(traffic: Traffic, action: str, number: int) -> None:
    executor = traffic.executors[number % len(traffic.executors)]
    if action == "arrive":
        traffic.arrive()
    elif action == "cancel" and traffic.requests:
        traffic.scheduler.cancel(traffic.requests[number % len(traffic.requests)][0])
    elif action == "die":
        traffic.scheduler.remove(executor)
        executor.die()
        traffic.scheduler.add(executor)
    elif action in {"finish", "fail"} and executor.held:
        executor.finish(internal("boom") if action == "fail" else None)
