"""The sequence batcher in simulated time: slots, backlog, controls, states, ends that come too early."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import SlowExecutor, World

from pyserver.errors import ErrorCode, ServerError
from pyserver.payload import Pending
from pyserver.scheduler.controls import READY, Controls, FlagControl, IdControl
from pyserver.scheduler.formation import SequencePolicy
from pyserver.scheduler.implicit_state import States, StateSpec
from pyserver.scheduler.policy import Limits, Priorities, QueuePolicy
from pyserver.scheduler.queue import RequestQueue
from pyserver.scheduler.sequence import SequenceScheduler
from pyserver.types import SEQUENCE_END, SEQUENCE_START, InferResponse, Tensor

START, END = SEQUENCE_START, SEQUENCE_END
IDLE = 1_000
ROOMY = Limits(1 << 40, 1 << 60)
CONTROLS = Controls(
    [
        FlagControl("START", "BOOL", START, b"\0", b"\1"),
        FlagControl("END", "BOOL", END, b"\0", b"\1"),
        FlagControl("READY", "BOOL", READY, b"\0", b"\1"),
    ],
    IdControl("CORRID", "INT32"),
    batching=True,
)
SUM = StateSpec("SI", "SO", "INT32", (1,), (1,), struct.pack("<i", 100))


def sequencing(world: World, policy: SequencePolicy, limits: Limits = ROOMY, states: bool = False) -> SequenceScheduler:
    queue = RequestQueue("m", limits, Priorities(policy=QueuePolicy(allow_timeout_override=True)))
    kept = States("m", [SUM] if states else [], ["Y"], batching=True)
    return SequenceScheduler(
        "m",
        queue,
        world.clock,
        world.call_at,
        world.statistics,
        policy,
        lambda r: r.parameters["group"],
        CONTROLS,
        kept,
    )


def direct(slots: int = 2, **more: float) -> SequencePolicy:
    return SequencePolicy(slots, slots, IDLE, **more)  # type: ignore[arg-type]


def oldest(candidates: int, rows: int = 2, **more: int) -> SequencePolicy:
    return SequencePolicy(candidates, rows, IDLE, direct=False, goal=rows, **more)  # type: ignore[arg-type]


def sent(world: World) -> list[list[str]]:
    """The ids of the requests in each payload, "" for a filler."""
    return [[pending.request.id for pending in run.payload.pendings] for run in world.runs]


def errors(world: World) -> list[str]:
    outcomes = [reply.outcomes[0][1] for _, reply in world.requests if reply.outcomes]
    return [outcome.message for outcome in outcomes if isinstance(outcome, ServerError)]


def test_a_sequence_keeps_its_row_and_gaps_are_filled_with_zeros() -> None:
    world = World()
    seen: list[dict[str, bytes]] = []
    world.serve(sequencing(world, direct()), 10)

    def look(pending: Pending) -> list[Tensor]:
        run = world.executors[0].runs[-1]
        seen[:] = [
            {tensor.name: bytes(tensor.data) for tensor in other.request.inputs} for other in run.payload.pendings
        ]
        return []

    world.executors[0].answer = look
    world.arrive(0, sequence=7, flags=START)
    world.arrive(1, sequence=8, flags=START)
    world.arrive(50, sequence=8, flags=END)
    world.run()
    assert sent(world) == [["0"], ["", "1"], ["", "2"]]
    zero, one = b"\0", b"\1"
    assert seen[0] == {"X": bytes(4), "START": zero, "END": zero, "READY": zero, "CORRID": bytes(4)}
    assert seen[1] == {"X": b"\2\0\0\0", "START": zero, "END": one, "READY": one, "CORRID": b"\x08\0\0\0"}


def test_the_clients_request_is_left_as_it_was() -> None:
    world = World()
    world.serve(sequencing(world, direct(), states=True), 10)
    world.arrive(0, sequence=7, flags=START | END)
    world.run()
    pending, _ = world.requests[0]
    assert [tensor.name for tensor in pending.request.inputs] == ["X"]
    assert pending.request.outputs is None


def test_fillers_count_in_the_batch_and_nowhere_else() -> None:
    world = World()
    world.serve(sequencing(world, direct()), 10)
    world.arrive(0, sequence=7, flags=START)
    world.arrive(1, sequence=8, flags=START | END)
    world.run()
    counted = world.statistics
    assert (counted.success, counted.inference_count, counted.execution_count) == (2, 2, 2)
    assert {rows: totals[0] for rows, totals in counted.batches.items()} == {1: 1, 2: 1}


def test_new_sequences_wait_for_a_slot_in_order() -> None:
    world = World()
    world.serve(sequencing(world, direct(1)), 10)
    for at, (sequence, flags) in enumerate([(1, START), (2, START), (3, START | END), (2, END), (1, END)]):
        world.arrive(at, sequence=sequence, flags=flags)
    world.run()
    assert sent(world) == [["0"], ["4"], ["1"], ["3"], ["2"]]


def test_the_oldest_go_together_one_of_each_sequence() -> None:
    world = World()
    world.serve(sequencing(world, oldest(3)), 10)
    for at, sequence in enumerate([1, 1, 2, 2, 3]):
        world.arrive(at, sequence=sequence, flags=START)
    world.run()
    assert sent(world) == [["0"], ["2", "4"], ["1", "3"]]


def test_the_oldest_wait_for_company_as_long_as_they_may() -> None:
    world = World()
    world.serve(sequencing(world, oldest(4, 3, max_delay_ns=100)), 10)
    for at, sequence in [(0, 1), (20, 2), (300, 3), (301, 1), (302, 2)]:
        world.arrive(at, sequence=sequence, flags=START)
    world.run()
    assert [(run.start, len(run.pendings)) for run in world.runs] == [(100, 2), (302, 3)]


def test_direct_waits_until_enough_slots_are_ready() -> None:
    world = World()
    world.serve(sequencing(world, direct(4, utilization=0.5, max_delay_ns=100)), 10)
    for at, sequence in [(0, 1), (5, 2), (200, 1)]:
        world.arrive(at, sequence=sequence, flags=START)
    world.run()
    assert [run.start for run in world.runs] == [5, 300]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"sequence": 0}, "must specify a non-zero or non-empty correlation ID"),
        ({"sequence": ""}, "must specify a non-zero or non-empty correlation ID"),
        ({"sequence": 5}, "for sequence 5 to model 'm' must specify the START flag on the first request"),
        (
            {"sequence": 5, "flags": START, "rows": 2},
            "must specify batch-size 1 due to requirements of sequence batcher",
        ),
        ({"sequence": 1 << 40, "flags": START}, "doesn't fit control 'CORRID', expected a value of INT32"),
    ],
)
def test_what_is_no_part_of_a_sequence(request_: dict[str, int], says: str) -> None:
    world = World()
    world.serve(sequencing(world, direct()), 10)
    world.arrive(0, **request_)
    world.run()
    ((_, error),) = world.refused
    assert error.code is ErrorCode.INVALID_ARG
    assert says in error.message
    assert world.scheduler.idle


def test_after_its_end_a_sequence_has_to_start_again() -> None:
    world = World()
    world.serve(sequencing(world, direct()), 10)
    for at, flags in [(0, START | END), (50, 0), (60, START), (70, END)]:
        world.arrive(at, sequence=1, flags=flags)
    world.run()
    assert [when for when, _ in world.refused] == [50]
    assert len(world.runs) == 3


def test_a_sequence_that_rests_too_long_is_over_and_its_slot_free() -> None:
    world = World()
    world.serve(sequencing(world, direct(1)), 10)
    world.arrive(0, sequence=1, flags=START)
    world.arrive(5, sequence=2, flags=START | END)
    world.arrive(3000, sequence=1)
    world.run()
    assert [run.start for run in world.runs] == [0, 10 + IDLE]
    assert "must specify the START flag" in world.refused[0][1].message


def adding(pending: Pending) -> list[Tensor]:
    """A model that returns the new sum as its state, and as Y."""
    values = {tensor.name: tensor for tensor in pending.request.inputs}
    total = struct.unpack("<i", values["SI"].data)[0] + struct.unpack("<i", values["X"].data)[0]
    packed = struct.pack("<i", total)
    return [Tensor("Y", "INT32", (1, 1), packed), Tensor("SO", "INT32", (1, 1), packed)]


def test_states_come_back_and_are_not_returned() -> None:
    world = World()
    world.serve(sequencing(world, oldest(2), states=True), 10)
    world.executors[0].answer = adding
    for at, flags in enumerate([START, 0, 0, START, END]):
        world.arrive(10 * at, sequence=1, flags=flags)
    world.run()
    answers = [reply.outcomes[0][1] for _, reply in world.requests]
    assert all(isinstance(answer, InferResponse) for answer in answers)
    assert [[tensor.name for tensor in answer.outputs] for answer in answers] == [["Y"]] * 5  # type: ignore[union-attr]
    sums = [struct.unpack("<i", answer.outputs[0].data)[0] for answer in answers]  # type: ignore[union-attr]
    assert sums == [100, 101, 103, 103, 107]


def test_a_state_of_another_shape_is_the_models_fault() -> None:
    world = World()
    world.serve(sequencing(world, oldest(2), states=True), 10)
    world.executors[0].answer = lambda pending: [Tensor("SO", "INT32", (1, 2), bytes(8))]
    world.arrive(0, sequence=1, flags=START)
    world.run()
    assert errors(world) == ["model 'm': state output 'SO' has shape [1, 2], expected [1, 1]"]


def test_a_sequence_is_lost_with_its_instance_and_one_that_has_not_begun_is_not() -> None:
    world = World()
    scheduler = sequencing(world, direct(1))
    world.serve(scheduler, 100)
    world.arrive(0, sequence=1, flags=START)
    world.arrive(1, sequence=1)
    world.arrive(2, sequence=2, flags=START | END)
    world.call_at(50, dying(world, scheduler, 0))
    world.arrive(200, sequence=1)
    world.run()
    assert errors(world)[0] == "died"
    assert "sequence 1 of model 'm' was lost with its instance" in errors(world)[1]
    assert isinstance(world.requests[2][1].outcomes[0][1], InferResponse)
    assert "must specify the START flag" in world.refused[0][1].message


def dying(world: World, scheduler: SequenceScheduler, number: int) -> Callable[[], None]:
    def die() -> None:
        executor = world.executors[number % len(world.executors)]
        scheduler.remove(executor)
        executor.die()
        scheduler.add(executor)

    return die


def test_who_follows_a_start_that_never_ran_does_not_run() -> None:
    world = World()
    scheduler = sequencing(world, direct(1))
    world.serve(scheduler, 100)
    world.arrive(0, sequence=1, flags=START | END)
    world.arrive(1, sequence=2, flags=START)
    world.arrive(2, sequence=2, flags=END)
    world.call_at(50, lambda: scheduler.cancel(world.requests[1][0]))
    world.run()
    assert sent(world) == [["0"]]
    assert "follows a START that never ran" in errors(world)[0]


def test_an_iterative_sequence_runs_until_the_model_is_done_with_it() -> None:
    world = World()
    world.serve(sequencing(world, SequencePolicy(2, 2, IDLE, direct=False, goal=2, iterative=True)), 10)
    world.executors[0].reschedules = lambda pending: len([r for r in world.runs if pending in r.pendings]) < 3
    for at in (0, 1, 2):
        world.arrive(at)
    world.run()
    assert sent(world) == [["0"], ["0", "1"], ["0", "1"], ["1", "2"], ["2"], ["2"]]
    assert [len(reply.outcomes) for _, reply in world.requests] == [1, 1, 1]
    assert world.statistics.success == 3


POLICIES = st.one_of(
    st.builds(SequencePolicy, st.just(3), st.just(3), st.just(IDLE), utilization=st.sampled_from([0.0, 0.5]),
              max_delay_ns=st.sampled_from([0, 50])),
    st.builds(SequencePolicy, st.integers(1, 4), st.integers(1, 3), st.just(IDLE), direct=st.just(False),
              max_delay_ns=st.sampled_from([0, 50]), goal=st.integers(1, 3), preserve_ordering=st.booleans()),
)  # fmt: skip
STEPS = st.lists(
    st.tuples(
        st.integers(0, 600),
        st.sampled_from([1, 2, 3, 4, "a", "b"]),
        st.sampled_from([0, 0, START, END, START | END]),
        st.sampled_from(["", "", "", "other"]),
        st.sampled_from([0, 0, 0, 1]),
        st.sampled_from([0, 0, 0, 40, 200]),
    ),
    max_size=60,
)


@settings(max_examples=1000, deadline=None)
@given(
    POLICIES,
    STEPS,
    st.lists(st.integers(1, 90), min_size=1, max_size=3),
    st.lists(st.integers(0, 700), max_size=2),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 59)), max_size=6),
    st.booleans(),
)
def test_sequences_hold_in_any_weather(
    policy: SequencePolicy,
    steps: list[tuple[int, int | str, int, str, int, int]],
    durations: list[int],
    deaths: list[int],
    leaving: list[tuple[int, int]],
    states: bool,
) -> None:
    world = World()
    scheduler = sequencing(world, policy, states=states)
    world.serve(scheduler, *durations)
    for executor in world.executors:
        executor.answer = adding if states else executor.answer
    for at, sequence, flags, group, timeout_us, left in sorted(steps, key=lambda step: step[0]):
        whole = at + left if left else 0
        world.arrive(at, sequence=sequence, flags=flags, group=group, timeout_us=timeout_us, deadline=whole)
    for number, at in enumerate(deaths):
        world.call_at(at, dying(world, scheduler, number))
    for at, number in leaving:
        world.call_at(at, lambda number=number: world.requests[number:] and scheduler.cancel(world.requests[number][0]))
    world.run()
    assert scheduler.idle, "starved"
    assert (scheduler.waiting, scheduler.waiting_bytes) == (0, 0)
    assert not scheduler._of
    assert not scheduler._slots.sequences, "all rest, and rested too long"
    assert all(lane.free == policy.slots and set(lane.slots) == {None} for lane in scheduler._slots.lanes)
    for pending, reply in world.requests:
        assert len(reply.outcomes) == 1 or (pending.cancelled and not reply.outcomes), "lost, or answered twice"
    counted = world.statistics
    assert counted.success + counted.fail == len(world.requests)
    for run in world.runs:
        assert all(run.start <= pending.request.deadline_ns for pending in run.pendings if pending.request.deadline_ns)
    check_batches(world, policy)
    check_order(world.executors)


def check_batches(world: World, policy: SequencePolicy) -> None:
    known = {pending for pending, _ in world.requests}
    for run in world.runs:
        assert 1 <= len(run.payload.pendings) <= policy.max_rows
        real = [pending.request for pending in run.payload.pendings if pending in known]
        assert len({request.correlation_id for request in real}) == len(real), "one request a sequence"
        assert len({request.parameters["group"] for request in real}) == 1


def check_order(executors: list[SlowExecutor]) -> None:
    """The requests of a sequence run in the order of their arrival, from its START on, all on one executor."""
    began = sorted(
        (run.start, int(pending.request.id), pending.request.correlation_id, number, pending.request.flags)
        for number, executor in enumerate(executors)
        for run in executor.runs
        for pending in run.pendings
        if pending.request.id
    )
    last: dict[int | str, tuple[int, int]] = {}
    for _, number, sequence, executor, flags in began:
        before = last.get(sequence)
        assert before is not None or flags & START
        assert before is None or before[0] < number
        assert before is None or before[1] == executor or flags & START
        last[sequence] = (number, executor)
