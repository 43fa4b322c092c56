"""What a graph is cut into where steps stream: what runs once, and what runs for each of their responses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyserver.scheduler.course import Course
from pyserver.scheduler.graph import Graph
from pyserver.types import RequestedOutput

MOST_WAYS = 256
"""Sets of wanted outputs that are remembered."""


class Ways:
    """The ways through `graph` to certain of its outputs; `streams` are the steps that may answer any number of times.

    What comes of two of these never meets in one step, unless one of them leads to the other (`Graph.meeting`).
    """

    def __init__(self, graph: Graph, streams: frozenset[int] = frozenset()) -> None:
        self._graph = graph
        self._streams = streams
        self._all = Way(graph, streams, graph.outputs)
        self._some: dict[frozenset[str], Way] = {}

    def to(self, wanted: Iterable[str] | None) -> Way:
        """The way to the outputs `wanted`; None for all of them."""
        if wanted is None:
            return self._all
        key = frozenset(wanted)
        way = self._some.get(key)
        if way is None:
            if len(self._some) >= MOST_WAYS:
                self._some.clear()
            names = [name for name in self._graph.outputs if name in key]
            way = self._some[key] = Way(self._graph, self._streams, names)
        return way


class Way:
    """A course that is run once; then the `branches`, side by side: streaming steps, and what follows each response.

    Without a streaming step the course is all there is. `wanted` are the tensors to be had in the end; of them a branch
    has those that its step leads to, and those that no streaming step does.
    """

    def __init__(
        self, graph: Graph, streams: frozenset[int], wanted: Sequence[str], given: frozenset[str] = frozenset()
    ) -> None:
        self.wanted = tuple(wanted)
        needed = graph.needed(wanted, given)
        cuts = [number for number in needed if number in streams]
        first = [one for one in cuts if not any(graph.leads(other, one) for other in cuts)]
        after = {one: {one, *(number for number in needed if graph.leads(one, number))} for one in first}
        late = set[int]().union(*after.values())
        read = {name for number in late for name in graph.reads(number)}
        early = tuple(name for name in sorted(read | set(wanted)) if graph.makers.get(name) not in late)
        self.course = Course(graph, early if first else self.wanted, given)
        self.branches = tuple(
            Branch(
                graph, streams, one, after[one],
                [name for name in wanted if (maker := graph.makers.get(name)) not in late or maker in after[one]],
                given.union(early),
            )
            for one in first
        )  # fmt: skip


class Branch:
    """Step `stream`, and for each of its responses `rest`.

    `asked` has the pairs of those of its outputs that somebody reads or wants, `requested` their names as a request
    says them.
    """

    def __init__(
        self,
        graph: Graph,
        streams: frozenset[int],
        stream: int,
        after: Iterable[int],
        wanted: Sequence[str],
        given: frozenset[str],
    ) -> None:
        step = graph.steps[stream]
        used = {name for number in after for name in graph.reads(number)}.union(wanted)
        self.stream = stream
        self.asked = tuple(pair for pair in step.outputs if pair[1] in used)
        self.requested = [RequestedOutput(theirs) for theirs, _ in self.asked]
        self.rest = Way(graph, streams, wanted, given.union(ours for _, ours in step.outputs))
