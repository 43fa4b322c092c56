"""The graph of an ensemble, by examples and over thousands of random graphs run in random orders."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyserver.scheduler.graph import MOST_WAYS, Course, Graph, Progress, Way
from tests.support.graphs import graphs, step

CHAIN = Graph(["in"], ["out"], [step("last", "mid", "out"), step("first", "in", "mid")])
DIAMOND = Graph(
    ["in"],
    ["out"],
    [step("join", "left right", "out"), step("left", "top", "left"), step("right", "top", "right"),
     step("top", "in", "top")],
)  # fmt: skip


def test_steps_run_by_data_not_by_their_order() -> None:
    course = CHAIN.way(None).course
    assert course.first == [1]
    progress = Progress(course)
    assert progress.finished(1, {"mid": 1}) == ([0], [])
    assert not progress.done
    assert progress.finished(0, {"out": 1}) == ([], [1])
    assert progress.done


def test_a_diamond_runs_its_sides_together_and_frees_the_top_after_both() -> None:
    progress = Progress(DIAMOND.way(None).course)
    assert progress.finished(3, {"top": 1}) == ([1, 2], [])
    assert progress.finished(2, {"right": 1}) == ([], [])
    assert progress.finished(1, {"left": 1}) == ([0], [3])
    ready, free = progress.finished(0, {"out": 1})
    assert (ready, sorted(free)) == ([], [1, 2])
    assert progress.done


def test_only_what_the_wanted_outputs_need_runs() -> None:
    graph = Graph(["in"], ["a", "b", "c"], [step("a", "in", "a extra"), step("b", "a", "b"), step("c", "in", "c")])
    assert sorted(graph.way(["b"]).course.waits) == [0, 1]
    assert sorted(graph.way(["c"]).course.waits) == [2]
    assert [output.name for output in graph.way(["b"]).course.requested[0]] == ["y0"]
    assert sorted(graph.way(None).course.waits) == [0, 1, 2]
    assert graph.way(["c", "a"]).course.wanted == ("a", "c")
    assert graph.way(["c"]) is graph.way(["c", "c"])


def test_an_output_that_is_read_as_well_is_kept_to_the_end() -> None:
    graph = Graph(["in"], ["a", "b"], [step("one", "in", "a"), step("two", "a", "b")])
    progress = Progress(graph.way(None).course)
    assert progress.finished(0, {"a": 1}) == ([1], [])
    assert progress.finished(1, {"b": 1}) == ([], [])


def test_a_missing_tensor_is_settled_too() -> None:
    progress = Progress(CHAIN.way(None).course)
    assert progress.finished(1, {}) == ([0], [1])
    assert progress.finished(0, {}) == ([], [0])
    assert progress.done


def test_an_input_that_is_an_output_needs_no_step() -> None:
    graph = Graph(["in"], ["in", "a"], [step("one", "in", "a")])
    course = graph.way(["in"]).course
    assert course.first == []
    assert Progress(course).done


def test_courses_are_remembered_in_bounds() -> None:
    names = [f"o{number}" for number in range(10)]
    graph = Graph(["in"], names, [step("m", "in", " ".join(names))])
    for mask in range(1, MOST_WAYS * 3):
        graph.way([name for bit, name in enumerate(names) if mask >> bit & 1])
        assert len(graph._ways) <= MOST_WAYS


@dataclass
class Simulation:
    """Steps that end in the order that `data` chooses, some of them without some of their tensors."""

    graph: Graph
    data: st.DataObject
    wanted: list[str] | None
    there: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    started: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    freed: list[int] = field(default_factory=list)
    course: Course = field(init=False)

    def run(self, partial: bool) -> None:
        self.go(self.graph.way(self.wanted).course, set(self.graph.inputs), partial)

    def go(self, course: Course, there: set[str], partial: bool = False) -> None:
        """Run `course` where the tensors `there` are there."""
        self.course = course
        progress = Progress(course)
        self.settled, self.there = set(there), set(there)
        running: list[int] = []
        for number in course.first:
            self.start(number, running)
        while running:
            number = running.pop(self.data.draw(st.integers(0, len(running) - 1)))
            names = [ours for _, ours in course.asked[number]]
            made = [name for name in names if not partial or self.data.draw(st.booleans())]
            self.there.update(made)
            self.settled.update(names)
            self.finished.append(number)
            turn = progress.finished(number, dict.fromkeys(made, 1))
            for ready in turn.ready:
                self.start(ready, running)
            self.freed += turn.free
            self.check(course.wanted, made, number)
        assert progress.done
        assert sorted(self.finished) == sorted(course.waits)

    def start(self, number: int, running: list[int]) -> None:
        read = {ours for _, ours in self.graph.steps[number].inputs}
        assert read <= self.settled, "a step runs when all that it reads is settled"
        assert number not in self.started, "and once"
        self.started.append(number)
        running.append(number)

    def check(self, wanted: tuple[str, ...], made: list[str], number: int) -> None:
        """What is free is exactly what nobody who is still to finish reads, and what the answer does not hold."""
        assert len(set(self.freed)) == len(self.freed), "freed once"
        course = self.course
        for done in self.finished:
            mine = {ours for _, ours in self.graph.steps[done].outputs} & self.there
            read = any(
                mine & {ours for _, ours in self.graph.steps[other].inputs}
                for other in course.waits
                if other not in self.finished
            )
            assert (done in self.freed) == (not read and not mine & set(wanted)), (done, number, made)


@settings(max_examples=300)
@given(graph=graphs(), data=st.data(), partial=st.booleans())
def test_any_graph_runs_to_its_end_and_holds_no_more_than_it_must(
    graph: Graph, data: st.DataObject, partial: bool
) -> None:
    wanted = data.draw(st.none() | st.lists(st.sampled_from(graph.outputs), min_size=1, unique=True))
    Simulation(graph, data, wanted).run(partial)


@pytest.mark.parametrize("graph", [CHAIN, DIAMOND])
def test_the_same_course_serves_many_requests(graph: Graph) -> None:
    course = graph.way(None).course
    for _ in range(3):
        progress = Progress(course)
        waiting = list(course.first)
        while waiting:
            number = waiting.pop()
            waiting += progress.finished(number, {ours: 1 for _, ours in graph.steps[number].outputs}).ready
        assert progress.done


STREAMING = Graph(
    ["in"],
    ["out"],
    [step("join", "one wide", "out"), step("stream", "early", "one"), step("before", "in", "early"),
     step("aside", "in", "wide")],
)  # fmt: skip


def test_a_way_is_cut_where_a_step_streams() -> None:
    STREAMING.streams = frozenset({1})
    way = STREAMING.way(None)
    assert (sorted(way.course.waits), way.course.wanted, way.stream) == ([2, 3], ("early", "wide"), 1)
    assert way.rest is not None
    assert (sorted(way.rest.course.waits), way.rest.course.wanted, way.rest.stream) == ([0], ("out",), None)
    assert way.rest.course.first == [0]
    STREAMING.streams = frozenset()
    assert sorted(STREAMING.way(None).course.waits) == [0, 1, 2, 3]


def test_streams_side_by_side_are_found() -> None:
    assert DIAMOND.side_by_side(frozenset({0, 1, 2, 3})) is not None
    assert STREAMING.side_by_side(frozenset({1, 2})) is None
    assert STREAMING.side_by_side(frozenset({1, 3})) == (1, 3)


@settings(max_examples=300)
@given(graph=graphs(), data=st.data())
def test_any_way_runs_each_step_once_and_reads_what_is_there(graph: Graph, data: st.DataObject) -> None:
    streams = frozenset(data.draw(st.sets(st.integers(0, len(graph.steps) - 1), max_size=3)))
    assume(graph.side_by_side(streams) is None)
    wanted = data.draw(st.none() | st.lists(st.sampled_from(graph.outputs), min_size=1, unique=True))
    graph.streams = streams
    way: Way | None = graph.way(wanted)
    there = set(graph.inputs)
    ran: list[int] = []
    while way is not None:
        simulation = Simulation(graph, data, wanted)
        simulation.go(way.course, there)
        ran += simulation.finished
        there = simulation.there
        assert set(way.course.wanted) <= there
        if way.stream is not None:
            assert {ours for _, ours in graph.steps[way.stream].inputs} <= there
            ran.append(way.stream)
            there.update(ours for _, ours in way.asked)
        way = way.rest
    assert sorted(ran) == graph.needed(graph.outputs if wanted is None else wanted)
