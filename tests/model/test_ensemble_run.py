"""Requests through the graph of an ensemble, over models whose answers the test gives: who runs, and who holds what."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.errors import ErrorCode, ServerError, invalid
from pyserver.model.ensemble.plan import fitted
from pyserver.payload import Timing
from pyserver.scheduler.graph import Graph
from pyserver.types import RequestedOutput, Tensor
from tests.support.composing import Models, in_a_loop, turn
from tests.support.graphs import graphs, step

CHAIN = Graph(["in"], ["out"], [step("last", "mid", "out"), step("first", "in", "mid")])
FAN = Graph(["in"], ["a", "b"], [step("top", "in", "t"), step("left", "t", "a"), step("right", "t", "b")])


async def test_what_is_carried_to_every_step() -> None:
    models = Models(CHAIN)
    how: dict[str, Any] = {"id": "q7", "priority": 3, "timeout_us": 1000, "correlation_id": "s", "flags": 1}
    _, owner = models.request(parameters={"lang": "de"}, **how)
    for name, left in (("first", 1000), ("last", 600)):
        request = models.open[0][1]
        assert (request.model_name, request.id, request.priority) == (name, "q7", 3)
        assert (request.correlation_id, request.flags, request.parameters) == ("s", 1, {"lang": "de"})
        assert request.timeout_us == left
        models.now += 400_000
        models.answer()
        await turn()
    (answer,) = owner.answers
    assert (answer.model_name, answer.model_version, answer.id) == ("E", "1", "q7")
    assert [(output.name, output.shape) for output in answer.outputs] == [("out", (1,))]
    assert owner.timings == [Timing(0, 0, 800_000, 0)]


async def test_no_step_begins_when_the_time_is_over() -> None:
    models = Models(CHAIN)
    _, owner = models.request(timeout_us=10)
    models.now += 1_000_000_000
    models.answer()
    await turn()
    assert not models.open
    (error,) = owner.errors
    assert error.message == "in ensemble 'E', step 'last': Request timeout expired before the turn of model 'last'"
    assert [lease.released for lease in models.leases] == [1]


async def test_a_run_is_withdrawn_until_its_last_step_has_begun() -> None:
    models = Models(CHAIN)
    pending, owner = models.request(timeout_us=10)
    assert models.executor.withdraw(pending)
    assert models.open[0][2].cancelled()
    await turn()
    assert (owner.answers, owner.errors, owner.timings, models.executor.load) == ([], [], [None], 0)
    models.open.clear()
    pending, owner = models.request(timeout_us=10)
    models.answer()
    await turn()
    assert not models.executor.withdraw(pending)


async def test_steps_run_side_by_side_and_the_answer_holds_what_it_shows() -> None:
    models = Models(FAN)
    _, owner = models.request()
    models.answer()
    await turn()
    assert sorted(request.model_name for _, request, _ in models.open) == ["left", "right"]
    models.answer(1)
    await turn()
    assert [lease.released for lease in models.leases] == [0, 0]
    models.answer()
    await turn()
    assert [lease.released for lease in models.leases] == [1, 0, 0]
    owner.answers[0].release()
    owner.answers[0].release()
    assert [lease.released for lease in models.leases] == [1, 1, 1]


@pytest.mark.parametrize("code", ErrorCode)
async def test_an_error_names_the_step_and_keeps_its_code(code: ErrorCode) -> None:
    models = Models(FAN)
    _, owner = models.request()
    models.answer()
    await turn()
    other = models.open[1][2]
    models.fail(0, ServerError(code, "no", 2.5))
    await turn()
    assert other.cancelled(), "the other side is not waited for"
    (error,) = owner.errors
    assert (error.code, error.message, error.retry_after) == (code, "in ensemble 'E', step 'left': no", 2.5)
    assert owner.timings == [None]
    assert [lease.released for lease in models.leases] == [1]
    assert models.executor.load == 0


async def test_a_refusal_at_once_is_told_from_the_loop() -> None:
    models = Models(CHAIN)
    models.refuse = lambda number: True
    _, owner = models.request()
    assert not owner.errors
    await turn()
    (error,) = owner.errors
    assert (error.code, error.message) == (ErrorCode.UNAVAILABLE, "in ensemble 'E', step 'first': full")


async def test_what_is_no_error_of_ours_is_internal(caplog: pytest.LogCaptureFixture) -> None:
    models = Models(CHAIN)
    _, owner = models.request()
    models.fail(0, ZeroDivisionError("by zero"))
    await turn()
    assert owner.errors[0].code is ErrorCode.INTERNAL
    assert "by zero" in owner.errors[0].message
    assert "ensemble 'E', step 'first' failed" in caplog.text


async def test_cancelling_cancels_the_steps_and_gives_all_back() -> None:
    models = Models(FAN)
    pending, owner = models.request()
    models.answer()
    await turn()
    models.executor.cancel(pending)
    assert all(future.cancelled() for _, _, future in models.open)
    await turn()
    assert [lease.released for lease in models.leases] == [1]
    assert (owner.answers, owner.timings, models.executor.load) == ([], [None], 0)
    models.executor.cancel(pending)


async def test_a_missing_output_that_was_asked_for() -> None:
    models = Models(FAN)
    _, owner = models.request(outputs=[RequestedOutput("b"), RequestedOutput("a")])
    models.answer()
    await turn()
    models.answer()
    models.answer(without=("y0",))
    await turn()
    assert owner.errors[0].code is ErrorCode.INVALID_ARG
    assert "in ensemble 'E', unexpected deadlock, at least one output is not set" in owner.errors[0].message
    assert "'b' of step 'right'" in owner.errors[0].message
    assert [lease.released for lease in models.leases] == [1, 1, 1]


async def test_a_missing_output_that_nobody_asked_for() -> None:
    models = Models(FAN)
    _, owner = models.request()
    models.answer()
    await turn()
    models.answer()
    models.answer(without=("y0",))
    await turn()
    assert [output.name for output in owner.answers[0].outputs] == ["a"]
    assert [lease.released for lease in models.leases] == [1, 0, 1]


async def test_optional_inputs_are_left_to_the_model() -> None:
    graph = Graph(["in", "maybe"], ["out"], [step("m", "in maybe", "out")])
    models = Models(graph)
    models.request(inputs=[Tensor("in", "FP32", (1,), b"1234")])
    assert [tensor.name for tensor in models.open[0][1].inputs] == ["x0"]


async def test_no_more_than_the_limit_in_a_step_and_in_the_graph() -> None:
    models = Models(CHAIN, per_step=2)
    owners = []
    while models.executor.room(0):
        owners.append(models.request()[1])
    assert len(owners) == 4, "as many as the steps take together"
    assert len(models.open) == 2, "two in the first step"
    models.answer()
    models.answer()
    await turn()
    assert [number for number, _, _ in models.open] == [0, 0, 1, 1] or len(models.open) == 4
    while models.open:
        models.answer()
        await turn()
    assert [len(owner.answers) for owner in owners] == [1] * 4
    assert models.executor.room(0)


async def test_room_is_bounded_in_requests_and_bytes() -> None:
    models = Models(CHAIN, requests=3)
    for _ in range(3):
        assert models.executor.room(0)
        models.request()
    assert not models.executor.room(0)
    large = Models(CHAIN)
    large.executor._most_bytes = 8
    large.request()
    large.request()
    assert not large.executor.room(0)


@pytest.mark.parametrize(
    ("shape", "rank", "fits"),
    [
        ((2, 3), 2, (2, 3)),
        ((3,), 2, (1, 3)),
        ((1, 3), 1, (3,)),
        ((2, 3), 1, (2, 3)),
        ((), 2, ()),
        ((1, 1, 3), 1, (1, 1, 3)),
    ],
)
def test_a_batch_of_one_between_models_that_batch_and_those_that_do_not(
    shape: tuple[int, ...], rank: int, fits: tuple[int, ...]
) -> None:
    assert fitted(shape, rank) == fits


@settings(max_examples=150)
@given(graph=graphs(), data=st.data(), per_step=st.integers(0, 2), count=st.integers(1, 4))
def test_every_answer_is_given_back_once_whatever_happens(
    graph: Graph, data: st.DataObject, per_step: int, count: int
) -> None:
    in_a_loop(chaos(graph, data, per_step, count))


async def chaos(graph: Graph, data: st.DataObject, per_step: int, count: int) -> None:
    """Several requests, whose steps end in any order and any way, and whose clients may go."""
    models = Models(graph, per_step)
    refused = data.draw(st.sets(st.integers(0, 20), max_size=3))
    calls = itertools.count()
    models.refuse = lambda number: next(calls) in refused
    asked = []
    for _ in range(count):
        wanted = data.draw(st.none() | st.lists(st.sampled_from(graph.outputs), min_size=1, unique=True))
        asked.append(models.request(outputs=wanted and [RequestedOutput(name) for name in wanted]))
    await turn()
    while models.open:
        running: dict[int, int] = {}
        for number, _, future in models.open:
            running[number] = running.get(number, 0) + (not future.cancelled())
        assert not per_step or max(running.values()) <= per_step
        at = data.draw(st.integers(0, len(models.open) - 1))
        how = data.draw(st.sampled_from(["answer", "answer", "answer", "partly", "fail", "cancel"]))
        if how == "fail":
            models.fail(at, invalid("no"))
        elif how == "cancel":
            models.executor.cancel(asked[data.draw(st.integers(0, count - 1))][0])
            models.answer(at)
        else:
            models.answer(at, ("y0",) if how == "partly" else ())
        if not models.open or data.draw(st.booleans()):
            await turn()
    await turn()
    for _, owner in asked:
        assert len(owner.answers) + len(owner.errors) == 1, "told once"
        assert len(owner.timings) == 1
        for answer in owner.answers:
            held = [lease for lease in models.leases if any(o.data is lease.data for o in answer.outputs)]
            assert not any(lease.released for lease in held)
            answer.release()
            answer.release()
    assert [lease.released for lease in models.leases] == [1] * len(models.leases)
    assert models.executor.load == 0
    assert not models.executor._runs
    assert [gate.inside for gate in models.executor._gates] == [0] * len(graph.steps)
