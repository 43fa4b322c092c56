"""Requests through graphs with streaming steps: whatever happens, each answer in its order, all memory given back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyserver.errors import invalid
from pyserver.payload import Pending
from pyserver.scheduler.graph import Graph
from pyserver.scheduler.way import Way, Ways
from pyserver.types import InferResponse
from tests.support.composing import Models, Owner, Path, in_a_loop, turn
from tests.support.graphs import graphs, step

MOST_RESPONSES = 3


class World:
    """One request, and all that the models of its steps do as `data` says; `rough` has them fail and the client go."""

    def __init__(self, graph: Graph, streams: frozenset[int], data: st.DataObject, per_step: int, rough: bool) -> None:
        self.models = Models(graph, per_step, streams=streams)
        self.data = data
        self.rough = rough
        self.leaves = set(leaves(Ways(graph, streams).to(None)))
        self.expected: set[Path] = set()
        self.refused = 0
        self.pending: Pending
        self.owner: Owner

    async def run(self) -> None:
        if self.rough:
            calls = iter(range(1 << 20))
            refused = self.data.draw(st.sets(st.integers(0, 12), max_size=2))
            self.models.refuse = lambda number: next(calls) in refused
        self.pending, self.owner = self.models.request()
        await turn()
        while deeds := list(self.deeds()):
            self.do(self.data.draw(st.sampled_from(deeds)))
            if self.data.draw(st.booleans()):
                await turn()
            if not list(self.deeds()):
                await turn()

    def deeds(self) -> Iterator[tuple[str, int]]:
        for at in range(len(self.models.open)):
            yield "answer", at
        for at, stream in enumerate(self.models.streaming):
            if not stream.ended:
                yield "end", at
                if stream.count < MOST_RESPONSES:
                    yield "give", at

    def do(self, deed: tuple[str, int]) -> None:
        what, at = deed
        models, rough = self.models, self.rough and self.data.draw(st.integers(0, 9)) == 0
        if rough and self.data.draw(st.booleans()):
            models.executor.cancel(self.pending)
        elif what == "answer":
            models.fail(at, invalid("no")) if rough else models.answer(at)
        elif rough:
            stream = models.streaming[at]
            stream.count += 1
            stream.give(InferResponse("m", "1", error=invalid("no")), what == "end")
        elif what == "give" or self.data.draw(st.booleans()):
            path = models.give(models.streaming[at], what == "end")
            if tuple(number for number, _ in path) in self.leaves:
                self.expected.add(path)
        else:
            models.streaming[at].give(InferResponse("m", "1", empty=True), True)

    def told(self) -> list[Path]:
        """Of what each answer comes; its memory is there until it is released."""
        paths = []
        for answer in self.owner.answers:
            if not answer.empty and answer.error is None:
                paths.append(self.models.path(answer.outputs))
                held = [lease for lease in self.models.leases if any(o.data is lease.data for o in answer.outputs)]
                assert not any(lease.released for lease in held)
            answer.release()
        return paths


def leaves(way: Way, before: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """The streaming steps that lead to each kind of answer."""
    if not way.branches:
        yield before
    for branch in way.branches:
        yield from leaves(branch.rest, (*before, branch.stream))


def in_order(one: Path, other: Path) -> bool:
    """Whether `one` may be told before `other`: of streams side by side either may."""
    for (stream, place), (other_stream, other_place) in zip(one, other, strict=False):
        if stream != other_stream:
            return True
        if place != other_place:
            return place < other_place
    return False


@settings(max_examples=100)
@given(graph=graphs(), data=st.data(), per_step=st.integers(0, 1), rough=st.booleans())
def test_any_streams(graph: Graph, data: st.DataObject, per_step: int, rough: bool) -> None:
    streams = frozenset(data.draw(st.sets(st.integers(0, len(graph.steps) - 1), min_size=1, max_size=4)))
    assume(graph.meeting(streams) is None)
    assume(Ways(graph, streams).to(None).branches)
    in_a_loop(check(graph, streams, data, per_step, rough))


async def check(graph: Graph, streams: frozenset[int], data: st.DataObject, per_step: int, rough: bool) -> None:
    world = World(graph, streams, data, per_step, rough)
    await world.run()
    owner, executor = world.owner, world.models.executor
    told = world.told()
    assert all(in_order(one, other) for one, other in pairwise(told))
    assert len(set(told)) == len(told)
    assert set(told) <= world.expected
    if not world.rough:
        assert set(told) == world.expected
        assert owner.finals == 1
    assert owner.finals + len(owner.errors) <= 1
    assert len(owner.timings) == 1
    assert [lease.released for lease in world.models.leases] == [1] * len(world.models.leases)
    assert (executor.load, executor._runs) == (0, {})
    assert [gate.inside for gate in executor._gates] == [0] * len(graph.steps)


async def test_one_that_fails_ends_the_other_and_frees_what_both_read() -> None:
    graph = Graph(["in"], ["a", "b"], [step("top", "in", "t"), step("left", "t", "a"), step("right", "t", "b")])
    models = Models(graph, streams=frozenset({1, 2}))
    _, owner = models.request()
    models.answer()
    await turn()
    left, right = models.streaming
    models.give(left)
    assert [lease.released for lease in models.leases] == [0, 0]
    right.give(InferResponse("right", "1", error=invalid("no")), True)
    await turn()
    assert left.cancelled
    assert owner.errors[0].message == "in ensemble 'E', step 'right': no"
    for answer in owner.answers:
        answer.release()
    assert [lease.released for lease in models.leases] == [1, 1]
