"""Graphs of ensembles for tests: written by hand, and random ones."""

from __future__ import annotations

from hypothesis import strategies as st

from pyserver.scheduler.graph import Graph, Step


def step(model: str, inputs: str, outputs: str) -> Step:
    """A step whose own names are x0, x1, ... and y0, y1, ... for the ensemble's, written as words."""
    return Step(
        model,
        "",
        tuple((f"x{number}", name) for number, name in enumerate(inputs.split())),
        tuple((f"y{number}", name) for number, name in enumerate(outputs.split())),
    )


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Steps in any order, each reading inputs and tensors of steps that a hidden order puts before it."""
    count = draw(st.integers(1, 8))
    inputs = [f"in{number}" for number in range(draw(st.integers(1, 3)))]
    there = list(inputs)
    steps = []
    for number in range(count):
        read = draw(st.lists(st.sampled_from(there), min_size=1, max_size=3))
        made = [f"t{number}.{place}" for place in range(draw(st.integers(1, 2)))]
        there += made
        steps.append(step(f"m{number}", " ".join(read), " ".join(made)))
    outputs = draw(st.lists(st.sampled_from(there), min_size=1, max_size=4, unique=True))
    return Graph(inputs, outputs, draw(st.permutations(steps)))
