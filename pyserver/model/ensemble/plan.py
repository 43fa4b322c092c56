"""From an ensemble's configuration to its graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyserver.scheduler.graph import Graph, Step


def graph_of(config: Any) -> Graph:
    """The graph in the ensemble_scheduling of a ModelConfig message whose rules have been checked."""
    return Graph(
        (tensor.name for tensor in config.input),
        (tensor.name for tensor in config.output),
        [_step(step) for step in config.ensemble_scheduling.step],
    )


def ranks(config: Any) -> dict[str, int]:
    """The number of dimensions, batch included, of each input and output of a model."""
    batch = 1 if config.max_batch_size > 0 else 0
    return {tensor.name: batch + len(tensor.dims) for tensor in (*config.input, *config.output)}


def fitted(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """`shape` as a model of `rank` dimensions takes it: one that batches gets a batch of one from a model that doesn't,
    and the other way round (as in Triton). What fits neither way stays, for the model to refuse.
    """
    if len(shape) == rank:
        return shape
    if len(shape) == rank - 1:
        return (1, *shape)
    if len(shape) == rank + 1 and shape[0] == 1:
        return shape[1:]
    return shape


def _step(step: Any) -> Step:
    version = str(step.model_version) if step.model_version > 0 else ""
    return Step(step.model_name, version, _pairs(step.input_map.items()), _pairs(step.output_map.items()))


def _pairs(items: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(items))
