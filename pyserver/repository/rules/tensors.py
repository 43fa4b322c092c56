"""Rules for inputs and outputs, once the model has completed them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pyserver.proto import model_config

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig, ModelInput, ModelOutput

_SIZES = "must be integer >= 1, or -1 to indicate a variable-size dimension"


def inputs(config: ModelConfig) -> Iterable[str]:
    """Every input is whole."""
    for tensor in config.input:
        yield from _tensor(config, "input", tensor)
        if tensor.format != model_config.ModelInput.FORMAT_NONE and len(tensor.dims) != 3:
            yield f"model input '{tensor.name}': NHWC/NCHW require 3 dims, got {list(tensor.dims)}"


def outputs(config: ModelConfig) -> Iterable[str]:
    """Every output is whole."""
    for tensor in config.output:
        yield from _tensor(config, "output", tensor)


def names(config: ModelConfig) -> Iterable[str]:
    """Every name is there once; Triton loads a model that has one twice, and then can't run it."""
    for kind, tensors in (("input", config.input), ("output", config.output)):
        counts = Counter(tensor.name for tensor in tensors)
        yield from (f"model {kind} '{name}' is there {count} times" for name, count in counts.items() if count > 1)


def _tensor(config: ModelConfig, kind: str, tensor: ModelInput | ModelOutput) -> Iterable[str]:
    what = f"model {kind} '{tensor.name}'"
    if not tensor.name:
        yield f"model {kind} must specify 'name'"
    if tensor.data_type == model_config.TYPE_INVALID:
        yield f"{what} must specify 'data_type'"
    if not tensor.dims:
        yield f"{what} must specify 'dims'"
    elif not all(map(_is_size, tensor.dims)):
        yield f"{what} dimension {_SIZES}, got {list(tensor.dims)}"
    elif tensor.HasField("reshape"):
        yield from _reshape(config, what, tensor.dims, tensor.reshape.shape)
    if tensor.is_shape_tensor:
        yield f"{what}: shape tensors are only supported for TensorRT platform"


def _is_size(size: int) -> bool:
    return size >= 1 or size == -1


def _reshape(config: ModelConfig, what: str, dims: Sequence[int], shape: Sequence[int]) -> Iterable[str]:
    both = f"{list(dims)} and {list(shape)}"
    if not all(map(_is_size, shape)):
        yield f"{what} reshape dimensions {_SIZES}, got {list(shape)}"
    elif not shape and config.max_batch_size == 0:
        yield f"{what} cannot have empty reshape for non-batching model as scalar tensors are not supported"
    elif list(dims).count(-1) != list(shape).count(-1):
        yield f"{what} has different number of variable-size dimensions for dims and reshape, {both}"
    elif _fixed_parts(dims) != _fixed_parts(shape):
        yield f"{what} has different size for dims and reshape, {both}"


def _fixed_parts(shape: Sequence[int]) -> list[int]:
    """Return the element counts before, between and after variable dimensions: [4] for (2, 2), [2, 1] for (2, -1)."""
    parts = [1]
    for variable, sizes in groupby(shape, lambda size: size == -1):
        if variable:
            parts += [1] * len(list(sizes))
        else:
            parts[-1] = math.prod(sizes)
    return parts
