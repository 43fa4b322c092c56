"""Reshaped tensors: the shape that a client sees is not the one that the model does (`reshape` in a configuration)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyserver.model.spec import ANY, TensorSpec
from pyserver.types import Tensor


def to_model(tensors: Iterable[Tensor], specs: Mapping[str, TensorSpec], batching: bool) -> None:
    """Give inputs the shape that the model expects."""
    for tensor in tensors:
        spec = specs.get(tensor.name)
        if spec is not None and spec.reshape is not None:
            _fill(tensor, spec.reshape, batching)


def to_client(tensors: Iterable[Tensor], specs: Mapping[str, TensorSpec], batching: bool) -> None:
    """Give outputs the shape that the configuration's `dims` promise."""
    for tensor in tensors:
        spec = specs.get(tensor.name)
        if spec is not None and spec.reshape is not None:
            _fill(tensor, spec.dims, batching)


def fill(pattern: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """`pattern` with its -1s replaced by what is left of `shape` once equal fixed sizes are taken out, in order."""
    wanted = list(shape)
    for size in pattern:
        if size != ANY and size in wanted:
            wanted.remove(size)
    left = iter([size for size in wanted if size != 1] + [1] * len(pattern))
    return tuple(next(left) if size == ANY else size for size in pattern)


def _fill(tensor: Tensor, pattern: tuple[int, ...], batching: bool) -> None:
    if batching:
        tensor.shape = (*tensor.shape[:1], *fill(pattern, tensor.shape[1:]))
    else:
        tensor.shape = fill(pattern, tensor.shape)
