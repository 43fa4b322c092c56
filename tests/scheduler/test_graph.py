"""The graph of an ensemble, by examples and over thousands of random graphs run in random orders."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyserver.scheduler.course import Course, Progress
from pyserver.scheduler.graph import Graph, Meeting
from pyserver.scheduler.way import MOST_WAYS, Way, Ways
from tests.support.graphs import graphs, step

CHAIN = Graph(["in"], ["out"], [step("last", "mid", "out"), step("first", "in", "mid")])
DIAMOND = Graph(
    ["in"],
    ["out"],
    [step("join", "left right", "out"), step("left", "top", "left"), step("right", "top", "right"),
     step("top", "in", "top")],
)  # fmt: skip


def test_steps_run_by_data_not_by_their_order() -> None:
    course = Ways(CHAIN).to(None).course
    assert course.first == [1]
    progress = Progress(course)
    assert progress.finished(1, {"mid": 1}) == ([0], [])
    assert not progress.done
    assert progress.finished(0, {"out": 1}) == ([], [1])
    assert progress.done


def test_a_diamond_runs_its_sides_together_and_frees_the_top_after_both() -> None:
    progress = Progress(Ways(DIAMOND).to(None).course)
    assert progress.finished(3, {"top": 1}) == ([1, 2], [])
    assert progress.finished(2, {"right": 1}) == ([], [])
    assert progress.finished(1, {"left": 1}) == ([0], [3])
    ready, free = progress.finished(0, {"out": 1})
    assert (ready, sorted(free)) == ([], [1, 2])
    assert progress.done


def test_only_what_the_wanted_outputs_need_runs() -> None:
    graph = Graph(["in"], ["a", "b", "c"], [step("a", "in", "a extra"), step("b", "a", "b"), step("c", "in", "c")])
    ways = Ways(graph)
    assert sorted(ways.to(["b"]).course.waits) == [0, 1]
    assert sorted(ways.to(["c"]).course.waits) == [2]
    assert [output.name for output in ways.to(["b"]).course.requested[0]] == ["y0"]
    assert sorted(ways.to(None).course.waits) == [0, 1, 2]
    assert ways.to(["c", "a"]).course.wanted == ("a", "c")
    assert ways.to(["c"]) is ways.to(["c", "c"])


def test_an_output_that_is_read_as_well_is_kept_to_the_end() -> None:
    graph = Graph(["in"], ["a", "b"], [step("one", "in", "a"), step("two", "a", "b")])
    progress = Progress(Ways(graph).to(None).course)
    assert progress.finished(0, {"a": 1}) == ([1], [])
    assert progress.finished(1, {"b": 1}) == ([], [])


def test_a_missing_tensor_is_settled_too() -> None:
    progress = Progress(Ways(CHAIN).to(None).course)
    assert progress.finished(1, {}) == ([0], [1])
    assert progress.finished(0, {}) == ([], [0])
    assert progress.done


def test_an_input_that_is_an_output_needs_no_step() -> None:
    graph = Graph(["in"], ["in", "a"], [step("one", "in", "a")])
    course = Ways(graph).to(["in"]).course
    assert course.first == []
    assert Progress(course).done


def test_courses_are_remembered_in_bounds() -> None:
    names = [f"o{number}" for number in range(10)]
    graph = Graph(["in"], names, [step("m", "in", " ".join(names))])
    ways = Ways(graph)
    for mask in range(1, MOST_WAYS * 3):
        ways.to([name for bit, name in enumerate(names) if mask >> bit & 1])
        assert len(ways._some) <= MOST_WAYS


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
        self.go(Ways(self.graph).to(self.wanted).course, set(self.graph.inputs), partial)

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
    course = Ways(graph).to(None).course
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
    way = Ways(STREAMING, frozenset({1})).to(None)
    (branch,) = way.branches
    assert (sorted(way.course.waits), way.course.wanted, branch.stream) == ([2, 3], ("early", "wide"), 1)
    assert (sorted(branch.rest.course.waits), branch.rest.course.wanted) == ([0], ("out",))
    assert (branch.rest.course.first, branch.rest.branches) == ([0], ())
    assert sorted(Ways(STREAMING).to(None).course.waits) == [0, 1, 2, 3]


def test_each_branch_has_its_own_outputs_and_those_of_no_stream() -> None:
    graph = Graph(
        ["in"],
        ["a", "b", "c"],
        [step("before", "in", "c"), step("one", "c", "a"), step("other", "in", "m"), step("more", "m", "b")],
    )
    ways = Ways(graph, frozenset({1, 2}))
    way = ways.to(None)
    assert (sorted(way.course.waits), way.course.wanted) == ([0], ("c", "in"))
    assert [(branch.stream, branch.rest.wanted) for branch in way.branches] == [(1, ("a", "c")), (2, ("b", "c"))]
    assert [sorted(branch.rest.course.waits) for branch in way.branches] == [[], [3]]
    assert [branch.stream for branch in ways.to(["b"]).branches] == [2]


def test_where_streams_meet_is_found() -> None:
    assert DIAMOND.meeting(frozenset({1, 2})) == Meeting(0, 1, 2)
    assert DIAMOND.meeting(frozenset({0, 1, 3})) is None
    assert STREAMING.meeting(frozenset({1, 2})) is None
    assert STREAMING.meeting(frozenset({1, 3})) == Meeting(0, 1, 3)
    apart = Graph(["in"], ["a", "b"], [step("one", "in", "a"), step("other", "in", "b")])
    assert apart.meeting(frozenset({0, 1})) is None


@settings(max_examples=300)
@given(graph=graphs(), data=st.data())
def test_any_way_runs_each_step_once_and_reads_what_is_there(graph: Graph, data: st.DataObject) -> None:
    """Once for all branches together, that is; and every wanted output is made in some branch."""
    streams = frozenset(data.draw(st.sets(st.integers(0, len(graph.steps) - 1), max_size=4)))
    assume(graph.meeting(streams) is None)
    wanted = data.draw(st.none() | st.lists(st.sampled_from(graph.outputs), min_size=1, unique=True))
    ran: list[int] = []
    made: set[str] = set()

    def go(way: Way, there: set[str]) -> None:
        simulation = Simulation(graph, data, wanted)
        simulation.go(way.course, there)
        ran.extend(simulation.finished)
        assert set(way.course.wanted) <= simulation.there
        if not way.branches:
            made.update(way.wanted)
        for branch in way.branches:
            assert set(graph.reads(branch.stream)) <= simulation.there
            ran.append(branch.stream)
            go(branch.rest, simulation.there | {ours for _, ours in branch.asked})

    go(Ways(graph, streams).to(wanted), set(graph.inputs))
    asked = set(graph.outputs if wanted is None else wanted)
    assert sorted(ran) == graph.needed(asked)
    assert made == asked
