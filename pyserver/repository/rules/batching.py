"""Rules for the dynamic batcher, and for inputs and outputs that a backend makes of a batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyserver.proto import model_config

if TYPE_CHECKING:
    from pyserver.proto.model_config import BatchInput, ModelConfig


def dynamic_batching(config: ModelConfig) -> Iterable[str]:
    """Preferred sizes can be reached; priorities are levels that there are."""
    if not config.HasField("dynamic_batching"):
        return
    dynamic, largest = config.dynamic_batching, config.max_batch_size
    for size in dynamic.preferred_batch_size:
        if size <= 0:
            yield f"dynamic batching preferred size must be positive, got {size}"
        elif size > largest:
            yield f"dynamic batching preferred size must be <= max batch size, got {size} with max_batch_size {largest}"
    levels = dynamic.priority_levels
    if levels == 0:
        return
    if not 1 <= dynamic.default_priority_level <= levels:
        yield f"default priority level must be in range [1, {levels}], got {dynamic.default_priority_level}"
    for level in sorted(dynamic.priority_queue_policy):
        if not 1 <= level <= levels:
            yield f"priority queue policy must have priority level in range [1, {levels}], got {level}"
    if levels > 1 and dynamic.preserve_ordering:
        yield f"Only one priority level is allowed when 'preserve_ordering' is true, got {levels}"


def batch_inputs(config: ModelConfig) -> Iterable[str]:
    """Batch inputs are numbers made of inputs that there are."""
    names = {tensor.name for tensor in config.input}
    for entry in config.batch_input:
        yield from _batch_input(entry, names)


def _batch_input(entry: BatchInput, names: set[str]) -> Iterable[str]:
    kind = model_config.BatchInput.Kind.Name(entry.kind)
    if not entry.target_name:
        yield f"batch input kind '{kind}' must specify 'target_name'"
    if entry.data_type not in (model_config.TYPE_INT32, model_config.TYPE_FP32):
        got = model_config.DataType.Name(entry.data_type)
        yield f"batch input data type must be TYPE_INT32 or TYPE_FP32, got {got} for '{kind}'"
    if len(entry.source_input) != 1:
        yield f"batch input kind '{kind}' expects 1 source input, got {len(entry.source_input)}"
    for name in entry.source_input:
        if name not in names:
            yield f"unknown source input name '{name}' of batch input '{kind}'"


def batch_outputs(config: ModelConfig) -> Iterable[str]:
    """Batch outputs are outputs that there are, cut as inputs that there are."""
    inputs = {tensor.name for tensor in config.input}
    outputs = {tensor.name for tensor in config.output}
    for entry in config.batch_output:
        kind = model_config.BatchOutput.Kind.Name(entry.kind)
        if len(entry.source_input) != 1:
            yield f"batch output kind '{kind}' expects 1 source input, got {len(entry.source_input)}"
        yield from (f"unknown target output name '{name}'" for name in entry.target_name if name not in outputs)
        yield from (f"unknown source input name '{name}'" for name in entry.source_input if name not in inputs)
