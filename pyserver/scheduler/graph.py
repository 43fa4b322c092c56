"""The graph of an ensemble: which steps make which tensors, and who needs whom.

Pure names and numbers. A step is its place in the configuration; a tensor is its name in the ensemble.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple


class Step(NamedTuple):
    """A model of the graph, `version` "" for the latest; `inputs` and `outputs` pair its names with the ensemble's."""

    model: str
    version: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]


class Meeting(NamedTuple):
    """A step that reads what comes of two steps, neither of which needs what the other one makes."""

    step: int
    one: int
    other: int


class Graph:
    """Steps joined by tensors. None is made twice, none waits for itself: the configuration's rules see to it."""

    def __init__(self, inputs: Iterable[str], outputs: Iterable[str], steps: Sequence[Step]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.steps = tuple(steps)
        self.makers = {ours: number for number, step in enumerate(steps) for _, ours in step.outputs}

    def reads(self, number: int) -> list[str]:
        """The tensors that step `number` reads."""
        return [ours for _, ours in self.steps[number].inputs]

    def needed(self, wanted: Iterable[str], given: frozenset[str] = frozenset()) -> list[int]:
        """The steps without which `wanted` can't be made of what is `given`, in the order of the configuration."""
        needed: set[int] = set()
        names = list(wanted)
        while names:
            name = names.pop()
            number = self.makers.get(name)
            if number is not None and name not in given and number not in needed:
                needed.add(number)
                names += self.reads(number)
        return sorted(needed)

    def leads(self, one: int, other: int) -> bool:
        """Whether step `other` needs, directly or not, what `one` makes."""
        return one in self.needed(self.reads(other))

    def meeting(self, streams: frozenset[int]) -> Meeting | None:
        """Where responses of two of `streams` would have to be matched that no order joins, if that is anywhere."""
        for number in self.needed(self.outputs):
            sources = [stream for stream in sorted(streams) if self.leads(stream, number)]
            for one, other in combinations(sources, 2):
                if not self.leads(one, other) and not self.leads(other, one):
                    return Meeting(number, one, other)
        return None
