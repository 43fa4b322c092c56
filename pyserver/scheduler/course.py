"""Steps that run once each, as their tensors come: which may run now, and what nobody needs any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pyserver.scheduler.graph import Graph
from pyserver.types import RequestedOutput


class Turn(NamedTuple):
    """What the end of a step brings about: steps that may run now, steps whose answers nobody needs any more."""

    ready: list[int]
    free: list[int]


class Course:
    """The steps that certain tensors need beside those `given`. Of no request: `Progress` is one's way through it.

    By step: `asked` has the pairs of those of its outputs that somebody reads or wants, `requested` their names as a
    request says them, `waits` how many tensors of other steps it reads; `first` are the steps that read none.
    `readers` has, by tensor, the steps that read it.
    """

    def __init__(self, graph: Graph, wanted: tuple[str, ...], given: frozenset[str]) -> None:
        self.wanted = wanted
        needed = graph.needed(wanted, given)
        made = graph.makers.keys() - given
        self.waits: dict[int, int] = {}
        self.readers: dict[str, list[int]] = {}
        for number in needed:
            read = made.intersection(graph.reads(number))
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
