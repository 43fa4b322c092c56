"""The dynamic batcher in simulated time: sizes, delays, order, priorities, deadlines, deaths."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import World, policies

from pyserver.errors import ErrorCode, ServerError
from pyserver.scheduler.adaptive import AdaptiveDelay
from pyserver.scheduler.dynamic import DynamicScheduler
from pyserver.scheduler.policy import BatchPolicy, Limits, Priorities, QueuePolicy
from pyserver.scheduler.queue import RequestQueue
from pyserver.types import InferResponse

ROOMY = Limits(1 << 40, 1 << 60)
MS = 1_000_000


def batching(
    world: World, policy: BatchPolicy, priorities: Priorities | None = None, limits: Limits = ROOMY
) -> DynamicScheduler:
    queue = RequestQueue("m", limits, priorities)
    return DynamicScheduler(
        "m", queue, world.clock, world.call_at, world.statistics, policy, lambda request: request.parameters["group"]
    )


def batches(world: World) -> list[list[str]]:
    return [[pending.request.id for pending in run.payload.pendings] for run in world.runs]


def test_without_delay_an_idle_instance_never_waits() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(8)), 10)
    for at in (0, 1, 2, 3):
        world.arrive(at)
    world.run()
    assert batches(world) == [["0"], ["1", "2", "3"]]
    assert [run.start for run in world.runs] == [0, 10]


def test_a_batch_waits_for_company_no_longer_than_its_oldest_may() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(8, max_delay_ns=100)), 10)
    for at in (0, 60, 99, 150):
        world.arrive(at)
    world.run()
    assert batches(world) == [["0", "1", "2"], ["3"]]
    assert [run.start for run in world.runs] == [100, 250]


def test_behind_a_busy_instance_a_batch_waits_once_more_for_those_just_answered() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(4, max_delay_ns=20)), 100)
    for at in (0, 1, 50, 124, 125):  # the first two go at 20 and are answered at 120
        world.arrive(at)
    world.run()
    assert batches(world) == [["0", "1"], ["2", "3", "4"]]
    assert [run.start for run in world.runs] == [20, 140]


def test_it_waits_on_while_they_are_coming_but_not_for_ever() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(8, max_delay_ns=20)), 100)
    for at in (0, 50, 135, 144, 165):  # the first is answered at 120; the fourth is the last within 10 of another
        world.arrive(at)
    world.run()
    assert batches(world) == [["0"], ["1", "2", "3"], ["4"]]
    assert [run.start for run in world.runs][:2] == [20, 154]
    world = World()
    world.serve(batching(world, BatchPolicy(50, max_delay_ns=20)), 100)
    for at in (0, *range(50, 300, 5)):
        world.arrive(at)
    world.run()
    assert [run.start for run in world.runs][:2] == [20, 160]  # twice the delay


def test_a_full_batch_waits_for_nothing() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(3, max_delay_ns=1000)), 10)
    for at in (0, 1, 2):
        world.arrive(at)
    world.run()
    assert [run.start for run in world.runs] == [2]


def test_the_next_full_batch_is_there_before_the_last_one_ends() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(2, max_delay_ns=1000)), 50)
    for at in range(6):
        world.arrive(at)
    world.run()
    assert [run.start for run in world.runs] == [1, 51, 101]


def test_a_busy_instance_is_not_given_less_than_a_full_batch() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(4)), 50)
    for at in (0, 1, 40):
        world.arrive(at)
    world.run()
    assert batches(world) == [["0"], ["1", "2"]]


def test_rows_count_and_a_request_is_never_split() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(4, max_delay_ns=100)), 10)
    for at, rows in enumerate((2, 1, 3, 4)):
        world.arrive(at, rows=rows)
    world.run()
    assert batches(world) == [["0", "1"], ["2"], ["3"]]


def test_the_largest_preferred_size_goes_at_once() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(16, preferred=(2, 4), max_delay_ns=100)), 10, depth=1)
    for at in range(5):
        world.arrive(at)
    world.run()
    assert batches(world) == [["0", "1", "2", "3"], ["4"]]
    assert [run.start for run in world.runs] == [3, 104]


def test_different_shapes_never_share_a_batch() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(8, max_delay_ns=100)), 10)
    for at, group in enumerate("aabba"):
        world.arrive(at, group=group)
    world.run()
    assert batches(world) == [["0", "1"], ["2", "3"], ["4"]]


def test_priority_levels_are_strict_and_unknown_ones_get_the_default() -> None:
    world = World()
    priorities = Priorities(levels=3, default=2)
    world.serve(batching(world, BatchPolicy(1), priorities), 100, depth=1)
    for at, priority in enumerate((0, 3, 2, 1, 9)):
        world.arrive(at, priority=priority)
    world.run()
    assert batches(world) == [["0"], ["3"], ["2"], ["4"], ["1"]]


def test_an_expired_request_is_answered_when_it_expires_and_never_runs() -> None:
    world = World()
    priorities = Priorities(policy=QueuePolicy(timeout_us=5))
    world.serve(batching(world, BatchPolicy(1), priorities), 1_000_000, depth=1)
    world.arrive(0)
    world.arrive(10)
    world.run()
    ((when, error),) = world.requests[1][1].outcomes
    assert when == 5_010
    assert isinstance(error, ServerError)
    assert error.code is ErrorCode.UNAVAILABLE
    assert "Request timeout expired" in error.message
    assert batches(world) == [["0"]]
    assert world.statistics.failures["REJECTED"] == 1


@pytest.mark.parametrize(("asked", "expires"), [(2, 2_010), (9, 5_010), (0, 5_010)])
def test_an_override_only_shortens(asked: int, expires: int) -> None:
    world = World()
    priorities = Priorities(policy=QueuePolicy(timeout_us=5, allow_timeout_override=True))
    world.serve(batching(world, BatchPolicy(1), priorities), 1_000_000, depth=1)
    world.arrive(0)
    world.arrive(10, timeout_us=asked)
    world.run()
    assert world.requests[1][1].outcomes[0][0] == expires


def test_with_the_delay_action_expired_requests_go_last() -> None:
    world = World()
    priorities = Priorities(policy=QueuePolicy(timeout_us=5, allow_timeout_override=True, delay=True))
    world.serve(batching(world, BatchPolicy(1), priorities), 4_000, depth=1)
    world.arrive(0)
    world.arrive(10, timeout_us=1)
    world.arrive(20)
    world.run()
    assert batches(world) == [["0"], ["2"], ["1"]]


def test_a_levels_own_queue_size_is_exact() -> None:
    world = World()
    priorities = Priorities(policy=QueuePolicy(max_queue_size=2))
    world.serve(batching(world, BatchPolicy(1), priorities), 1_000, depth=1)
    for at in range(5):
        world.arrive(at)
    world.run()
    assert len(world.requests) == 3
    assert [when for when, _ in world.refused] == [3, 4]
    assert "[request id: 3] Exceeds maximum queue size for model 'm': 2 requests wait" in world.refused[0][1].message


def test_preserve_ordering_holds_answers_until_earlier_ones_are_out() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(1, preserve_ordering=True)), 100, 10, depth=1)
    for at in range(3):
        world.arrive(at)
    world.run()
    assert [reply.outcomes[0][0] for _, reply in world.requests] == [100, 100, 100]


def test_what_was_sent_ahead_expires_when_its_time_is_over_and_never_runs() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(1)), 1_000_000)
    world.arrive(0)
    world.arrive(10, timeout_us=5)
    world.run()
    ((when, error),) = world.requests[1][1].outcomes
    assert when == 5_010
    assert isinstance(error, ServerError)
    assert "Request timeout expired" in error.message
    assert [[pending.request.id for pending in run.pendings] for run in world.runs] == [["0"]]
    assert (world.statistics.execution_count, world.statistics.failures["REJECTED"]) == (1, 1)


@pytest.mark.parametrize("policy", [QueuePolicy(timeout_us=5), QueuePolicy(timeout_us=5, delay=True)])
def test_the_deadline_of_the_whole_holds_whatever_the_policy_says(policy: QueuePolicy) -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(1), Priorities(policy=policy)), 1_000_000, depth=1)
    world.arrive(0)
    world.arrive(10, deadline=3_000)
    world.arrive(20, deadline=9_000)
    world.arrive(30, deadline=30)
    world.run()
    expired = [reply.outcomes[0][0] for _, reply in world.requests[1:]]
    assert expired == [3_000, 9_000 if policy.delay else 5_020]
    assert [(when, error.message) for when, error in world.refused] == [
        (30, "Request timeout expired in the queue of model 'm'")
    ]
    assert batches(world) == [["0"]]
    assert world.statistics.failures["REJECTED"] == 3


def test_what_runs_already_does_not_expire() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(1)), 1_000_000)
    world.arrive(0, timeout_us=5)
    world.run()
    assert isinstance(world.requests[0][1].outcomes[0][1], InferResponse)


def test_what_was_sent_ahead_is_dropped_when_its_client_goes() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(1)), 100)
    world.arrive(0)
    world.arrive(10)
    world.call_at(20, lambda: world.scheduler.cancel(world.requests[1][0]))
    world.run()
    assert [[pending.request.id for pending in run.pendings] for run in world.runs] == [["0"]]
    assert world.scheduler.idle
    counted = world.statistics
    assert (counted.execution_count, counted.success, counted.failures["CANCELED"]) == (1, 1, 1)


def test_what_was_sent_ahead_counts_as_waiting() -> None:
    world = World()
    priorities = Priorities(policy=QueuePolicy(max_queue_size=2))
    world.serve(batching(world, BatchPolicy(1), priorities), 1_000)
    for at in range(5):
        world.arrive(at)
    seen: list[tuple[int, int]] = []
    world.call_at(10, lambda: seen.append((world.scheduler.waiting, world.scheduler.waiting_bytes)))
    world.run()
    assert [when for when, _ in world.refused] == [3, 4]
    assert seen == [(2, 16)]


def test_a_batch_that_fails_as_a_whole_runs_again_one_by_one() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(3, retry=True)), 10)
    world.executors[0].failing = lambda payload: any(pending.request.id == "2" for pending in payload.pendings)
    for at in range(4):
        world.arrive(at)
    world.run()
    assert batches(world) == [["0"], ["1", "2", "3"], ["1"], ["2"], ["3"]]
    failed = [pending.request.id for pending, reply in world.requests if isinstance(reply.outcomes[0][1], ServerError)]
    assert failed == ["2"]
    counted = world.statistics
    assert (counted.success, counted.failures["BACKEND"], counted.execution_count) == (3, 1, 5)


def test_without_retry_the_whole_batch_fails() -> None:
    world = World()
    world.serve(batching(world, BatchPolicy(2)), 10)
    world.executors[0].failing = lambda payload: True
    for at in range(3):
        world.arrive(at)
    world.run()
    assert batches(world) == [["0"], ["1", "2"]]


def test_the_adaptive_delay_waits_while_a_batch_fills_quickly_and_no_longer() -> None:
    delay = AdaptiveDelay()
    assert delay.delay_ns(1, 8, 0) == 0
    for at in range(0, 1000, 10):
        delay.arrived(at, 1)
    delay.executed(200)
    assert 50 < delay.delay_ns(4, 8, 0) <= 90
    assert delay.delay_ns(4, 8, 20) == 20
    assert delay.delay_ns(1, 64, 0) == 0


ARRIVALS = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.integers(1, 5),
        st.integers(0, 3),
        st.sampled_from("ab"),
        st.sampled_from([0, 0, 0, 50, 300, 900]),
    ),
    max_size=60,
)
POLICIES = policies(adaptive=st.booleans())


@settings(max_examples=600, deadline=None)
@given(
    POLICIES,
    ARRIVALS,
    st.lists(st.integers(1, 90), min_size=1, max_size=3),
    st.lists(st.integers(0, 500), max_size=2),
    st.sampled_from([QueuePolicy(), QueuePolicy(timeout_us=1), QueuePolicy(timeout_us=1, delay=True)]),
    st.sets(st.integers(0, 59), max_size=3),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 59)), max_size=6),
)
def test_limits_order_and_deadlines_hold(
    policy: BatchPolicy,
    arrivals: list[tuple[int, int, int, str, int]],
    durations: list[int],
    deaths: list[int],
    waiting: QueuePolicy,
    poisonous: set[int],
    leaving: list[tuple[int, int]],
) -> None:
    world = World()
    priorities = Priorities(3, 2, waiting, {1: QueuePolicy()})
    scheduler = batching(world, policy, priorities)
    world.serve(scheduler, *durations)
    for at, rows, priority, group, left in arrivals:
        world.arrive(at, rows, priority, group=group, deadline=at + left if left else 0)
    for number, at in enumerate(deaths):
        executor = world.executors[number % len(world.executors)]
        world.call_at(at, lambda dead=executor: (scheduler.remove(dead), dead.die(), scheduler.add(dead)))
    for executor in world.executors:
        executor.failing = lambda payload: any(int(pending.request.id) in poisonous for pending in payload.pendings)
    for at, number in leaving:
        world.call_at(at, lambda number=number: world.requests[number:] and scheduler.cancel(world.requests[number][0]))
    world.run()
    assert scheduler.idle
    assert (scheduler.waiting, scheduler.waiting_bytes) == (0, 0)
    assert not world.refused
    for pending, reply in world.requests:
        assert len(reply.outcomes) == 1 or (pending.cancelled and not reply.outcomes), "lost, or answered twice"
        if not reply.outcomes:
            continue
        if (
            pending.deadline_ns
            and isinstance(outcome := reply.outcomes[0][1], ServerError)
            and "expired" in outcome.message
        ):
            assert reply.outcomes[0][0] == pending.deadline_ns
    for run in world.runs:
        for pending in run.pendings:
            assert not pending.request.deadline_ns or run.start <= pending.request.deadline_ns, "no policy prolongs it"
    for run in world.runs:
        assert sum(pending.rows for pending in run.payload.pendings) <= policy.max_rows
        assert len({pending.request.parameters["group"] for pending in run.payload.pendings}) == 1
    if not deaths and not waiting.delay and not poisonous:
        check_order(world)
    if policy.retry and not deaths:
        for pending, reply in world.requests:
            failed = bool(reply.outcomes) and isinstance(reply.outcomes[0][1], ServerError)
            assert not failed or int(pending.request.id) in poisonous or "expired" in str(reply.outcomes[0][1])
    counted = world.statistics
    assert counted.success + counted.fail == len(world.requests)


def check_order(world: World) -> None:
    """Within a level nobody is overtaken."""
    seen: dict[int, int] = {}
    for run in sorted(world.runs, key=lambda run: run.payload.sent_ns):
        for pending in run.payload.pendings:
            level = pending.request.priority if 0 < pending.request.priority <= 3 else 2
            number = int(pending.request.id)
            if len(world.executors) == 1:
                assert seen.get(level, -1) < number
            seen[level] = number
