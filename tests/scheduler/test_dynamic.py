"""The dynamic batcher in simulated time: sizes, delays, order, priorities, deadlines, deaths."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import World

from pyserver.errors import ErrorCode, ServerError
from pyserver.scheduler.dynamic import DynamicScheduler
from pyserver.scheduler.policy import BatchPolicy, Limits, Priorities, QueuePolicy
from pyserver.scheduler.queue import RequestQueue

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


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 5), st.integers(0, 3), st.sampled_from("ab")),
    max_size=60,
)
POLICIES = st.builds(
    BatchPolicy,
    max_rows=st.integers(5, 12),
    preferred=st.sampled_from([(), (2,), (3, 5)]),
    max_delay_ns=st.sampled_from([0, 20, 200]),
    preserve_ordering=st.booleans(),
)


@settings(max_examples=600, deadline=None)
@given(
    POLICIES,
    ARRIVALS,
    st.lists(st.integers(1, 90), min_size=1, max_size=3),
    st.lists(st.integers(0, 500), max_size=2),
    st.sampled_from([QueuePolicy(), QueuePolicy(timeout_us=1), QueuePolicy(timeout_us=1, delay=True)]),
)
def test_limits_order_and_deadlines_hold(
    policy: BatchPolicy,
    arrivals: list[tuple[int, int, int, str]],
    durations: list[int],
    deaths: list[int],
    waiting: QueuePolicy,
) -> None:
    world = World()
    priorities = Priorities(3, 2, waiting, {1: QueuePolicy()})
    scheduler = batching(world, policy, priorities)
    world.serve(scheduler, *durations)
    for at, rows, priority, group in arrivals:
        world.arrive(at, rows, priority, group=group)
    for number, at in enumerate(deaths):
        executor = world.executors[number % len(world.executors)]
        world.call_at(at, lambda dead=executor: (scheduler.remove(dead), dead.die(), scheduler.add(dead)))
    world.run()
    assert scheduler.idle
    assert not world.refused
    for pending, reply in world.requests:
        assert len(reply.outcomes) == 1, "lost, or answered twice"
        if (
            pending.deadline_ns
            and isinstance(outcome := reply.outcomes[0][1], ServerError)
            and "expired" in outcome.message
        ):
            assert reply.outcomes[0][0] == pending.deadline_ns
    for run in world.runs:
        assert sum(pending.rows for pending in run.payload.pendings) <= policy.max_rows
        assert len({pending.request.parameters["group"] for pending in run.payload.pendings}) == 1
    if not deaths and not waiting.delay:
        check_order(world)
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
