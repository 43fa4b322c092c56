"""The graph of an ensemble: which steps make which tensors, which may run now, and what nobody needs any more.

Pure names and numbers. A step is its place in the configuration; a tensor is its name in the ensemble.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pyserver.types import RequestedOutput

MOST_WAYS = 256
"""Sets of wanted outputs that are remembered."""


class Step(NamedTuple):
    """A model of the graph, `version` "" for the latest; `inputs` and `outputs` pair its names with the ensemble's."""

    model: str
    version: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]


class Turn(NamedTuple):
    """What the end of a step brings about: steps that may run now, steps whose answers nobody needs any more."""

    ready: list[int]
    free: list[int]


class Graph:
    """Steps joined by tensors. None is made twice, none waits for itself: the configuration's rules see to it."""

    def __init__(self, inputs: Iterable[str], outputs: Iterable[str], steps: Sequence[Step]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.steps = tuple(steps)
        self.makers = {ours: number for number, step in enumerate(steps) for _, ours in step.outputs}
        self._streams: frozenset[int] = frozenset()
        self._all = Way(self, self.outputs, frozenset())
        self._ways: dict[frozenset[str], Way] = {}

    @property
    def streams(self) -> frozenset[int]:
        """The steps that may answer any number of times, or never."""
        return self._streams

    @streams.setter
    def streams(self, streams: frozenset[int]) -> None:
        self._streams = streams
        self._ways.clear()
        self._all = Way(self, self.outputs, frozenset())

    def way(self, wanted: Iterable[str] | None) -> Way:
        """The part of the graph that makes the outputs `wanted`; None for all of them."""
        if wanted is None:
            return self._all
        key = frozenset(wanted)
        way = self._ways.get(key)
        if way is None:
            if len(self._ways) >= MOST_WAYS:
                self._ways.clear()
            way = self._ways[key] = Way(self, [name for name in self.outputs if name in key], frozenset())
        return way

    def needed(self, wanted: Iterable[str], given: frozenset[str] = frozenset()) -> list[int]:
        """The steps without which `wanted` can't be made of what is `given`, in the order of the configuration."""
        needed: set[int] = set()
        names = list(wanted)
        while names:
            name = names.pop()
            number = self.makers.get(name)
            if number is not None and name not in given and number not in needed:
                needed.add(number)
                names += [ours for _, ours in self.steps[number].inputs]
        return sorted(needed)

    def side_by_side(self, streams: frozenset[int]) -> tuple[int, int] | None:
        """Two steps of `streams` neither of which needs what the other one makes, if there are any."""
        for one in sorted(streams):
            for other in sorted(streams - {one}):
                if not self.leads(one, other) and not self.leads(other, one):
                    return one, other
        return None

    def leads(self, one: int, other: int) -> bool:
        """Whether step `other` needs, directly or not, what `one` makes."""
        return one in self.needed(ours for _, ours in self.steps[other].inputs)


class Way:
    """A graph cut at its streaming steps: `course` once; then step `stream`, and for each of its responses `rest`.

    Without a streaming step `course` is all there is. `wanted` are the tensors to be had in the end.
    """

    def __init__(self, graph: Graph, wanted: Sequence[str], given: frozenset[str]) -> None:
        self.wanted = tuple(wanted)
        self.stream: int | None = None
        self.rest: Way | None = None
        needed = graph.needed(wanted, given)
        streams = [number for number in needed if number in graph.streams]
        first = [one for one in streams if not any(graph.leads(other, one) for other in streams if other != one)]
        if not first:
            self.course = Course(graph, self.wanted, given)
            return
        self.stream = stream = first[0]
        self.step = graph.steps[stream]
        after = {number for number in needed if graph.leads(stream, number)}
        made = {name for name, number in graph.makers.items() if number in after or number == stream}
        read = {ours for number in (stream, *after) for _, ours in graph.steps[number].inputs}
        early = tuple(sorted((read | set(wanted)) - made))
        self.course = Course(graph, early, given)
        later = given.union(early, (ours for _, ours in self.step.outputs))
        self.rest = Way(graph, self.wanted, later)
        use = read | set(wanted)
        self.asked = tuple(pair for pair in self.step.outputs if pair[1] in use)
        self.requested = [RequestedOutput(theirs) for theirs, _ in self.asked]


class Course:
    """The steps that certain tensors need beside those `given`. Of no request: `Progress` is one's way through it.

    By step: `asked` has the pairs of those of its outputs that somebody reads or wants, `requested` their names as a
    request says them, `waits` how many tensors of other steps it reads; `first` are the steps that read none.
    `readers` has, by tensor, the steps that read it.
    """

    def __init__(self, graph: Graph, wanted: tuple[str, ...], given: frozenset[str]) -> None:
        self.steps = graph.steps
        self.wanted = wanted
        needed = graph.needed(wanted, given)
        made = graph.makers.keys() - given
        self.waits: dict[int, int] = {}
        self.readers: dict[str, list[int]] = {}
        for number in needed:
            read = {ours for _, ours in graph.steps[number].inputs if ours in made}
            self.waits[number] = len(read)
            for name in read:
                self.readers.setdefault(name, []).append(number)
        self.first = [number for number in needed if not self.waits[number]]
        self.asked = {
            number: tuple(pair for pair in graph.steps[number].outputs if pair[1] in self.readers or pair[1] in wanted)
            for number in needed
        }
        self.requested = {
            number: [RequestedOutput(theirs) for theirs, _ in pairs] for number, pairs in self.asked.items()
        }


class Progress:
    """One request's way through a course: `first` steps run at once, then tell of each that has `finished`.

    A step runs when each tensor that it reads is there or known to be missing: whether it can do without is its own
    model's business. The answer of a step is needed until every reader of its tensors has finished, and to the end if
    the ensemble's own answer holds one of them.
    """

    __slots__ = ("_course", "_feeds", "_holds", "_left", "_waits")

    def __init__(self, course: Course) -> None:
        self._course = course
        self._waits = dict(course.waits)
        self._left = len(course.waits)
        self._holds: dict[int, int] = {}
        self._feeds: dict[int, set[int]] = {}

    @property
    def done(self) -> bool:
        """Whether every step has finished."""
        return not self._left

    def finished(self, step: int, made: Mapping[str, object]) -> Turn:
        """`step` has answered; of its tensors those in `made` are there, and the others never will be."""
        course = self._course
        self._left -= 1
        ready: list[int] = []
        fed: set[int] = set()
        kept = 0
        for _, name in course.asked[step]:
            readers = course.readers.get(name, ())
            for reader in readers:
                self._waits[reader] -= 1
                if not self._waits[reader]:
                    ready.append(reader)
            if name in made:
                fed.update(readers)
                kept |= name in course.wanted
        for reader in fed:
            self._feeds.setdefault(reader, set()).add(step)
        free = [] if self._hold(step, len(fed) + kept) else [step]
        free += [feeder for feeder in self._feeds.pop(step, ()) if not self._hold(feeder, -1)]
        return Turn(ready, free)

    def _hold(self, step: int, change: int) -> int:
        self._holds[step] = holds = self._holds.get(step, 0) + change
        return holds
