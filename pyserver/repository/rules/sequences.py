"""Rules for the sequence batcher: controls, strategies and states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyserver.proto import model_config

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig, ModelSequenceBatching

_VALUES = ("int32_false_true", "fp32_false_true", "bool_false_true")
_ANY_VALUES = "'int32_false_true', 'fp32_false_true' and 'bool_false_true'"
_EITHER_VALUES = "either 'int32_false_true', 'fp32_false_true' or 'bool_false_true'"
_IDS = ("TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING")


def controls(config: ModelConfig) -> Iterable[str]:
    """Each control is there once, in a tensor with a name, with values of one type."""
    names = {tensor.name for tensor in config.input}
    kinds: Counter[str] = Counter()
    for entry in config.sequence_batching.control_input:
        if not entry.name:
            yield "sequence batching control tensor must have a name"
        elif entry.name in names:
            yield f"sequence batching control tensor '{entry.name}' is an input as well"
        names.add(entry.name)
        for control in entry.control:
            kind = model_config.ModelSequenceBatching.Control.Kind.Name(control.kind)
            kinds[kind] += 1
            yield from (_correlation(control, kind) if kind == "CONTROL_SEQUENCE_CORRID" else _flag(control, kind))
    yield from (f"sequence batching specifies multiple {kind} tensors" for kind, count in kinds.items() if count > 1)


def _flag(control: ModelSequenceBatching.Control, kind: str) -> Iterable[str]:
    given = [name for name in _VALUES if getattr(control, name)]
    if not given:
        yield f"sequence batching must specify {_EITHER_VALUES} for {kind}"
    elif len(given) > 1:
        yield f"sequence batching specifies more than one from {_ANY_VALUES} for {kind}"
    elif len(getattr(control, given[0])) != 2:
        got = len(getattr(control, given[0]))
        yield f"sequence batching control '{given[0]}' must have exactly 2 entries for {kind}, got {got}"


def _correlation(control: ModelSequenceBatching.Control, kind: str) -> Iterable[str]:
    if any(getattr(control, name) for name in _VALUES):
        yield f"sequence batching must not specify {_EITHER_VALUES} for {kind}"
    if model_config.DataType.Name(control.data_type) not in _IDS:
        allowed = f"{', '.join(_IDS[:-1])} and {_IDS[-1]}"
        yield f"unexpected data type for control {kind}. Allowed data types are {allowed}"


def strategy(config: ModelConfig) -> Iterable[str]:
    """Numbers of the two strategies are in their ranges."""
    sequence, largest = config.sequence_batching, config.max_batch_size
    if sequence.HasField("direct") and not 0.0 <= sequence.direct.minimum_slot_utilization <= 1.0:
        got = sequence.direct.minimum_slot_utilization
        yield f"sequence batching minimum slot utilization must be in range (0.0, 1.0], got {got:g}"
    if sequence.HasField("oldest"):
        if sequence.oldest.max_candidate_sequences < 0:
            got = sequence.oldest.max_candidate_sequences
            yield f"sequence batching max_candidate_sequences must not be negative, got {got}"
        for size in sequence.oldest.preferred_batch_size:
            if size <= 0:
                yield f"sequence batching preferred batch size must be positive, got {size}"
            elif size > largest:
                yield (
                    f"sequence batching preferred batch size must be <= max batch size,"
                    f" got {size} with max_batch_size {largest}"
                )


def states(config: ModelConfig) -> Iterable[str]:
    """States are whole, there once, and begin with data of their own type and shape."""
    seen = {tensor.name for tensor in config.input}
    for state in config.sequence_batching.state:
        what = f"sequence batching state '{state.input_name}'"
        for field in ("input_name", "output_name", "dims"):
            if not getattr(state, field):
                yield f"{what} must specify '{field}'"
        if state.data_type == model_config.TYPE_INVALID:
            yield f"{what} must specify 'data_type'"
        if state.input_name in seen:
            yield f"{what}: there is another input or state with that name"
        seen.add(state.input_name)
        if any(dim == 0 or dim < -1 for dim in state.dims):
            yield f"{what} dimension must be integer >= 1, or -1 to indicate a variable-size dimension"
        yield from _initial(state)


def _initial(state: ModelSequenceBatching.State) -> Iterable[str]:
    name = state.input_name
    if len(state.initial_state) > 1:
        yield (
            f"initial_state field for state input '{name}' must contain exactly one or zero element."
            f" Found '{len(state.initial_state)}' elements."
        )
    for initial in state.initial_state[:1]:
        if not initial.name:
            yield f"Field 'name' must be set when using initial_state for state input '{name}'."
        if initial.WhichOneof("state_data") is None:
            yield f"initial_state setting expects state '{name}' to have state_data set"
        if initial.data_type != state.data_type:
            yield (
                f"The data type used for 'initial_state' field of state '{name}' does not match the state data type."
            )
        yield from _initial_dims(state, initial)


def _initial_dims(state: ModelSequenceBatching.State, initial: ModelSequenceBatching.InitialState) -> Iterable[str]:
    if any(dim < 0 for dim in initial.dims):
        yield f"'initial_state' field for state input name '{state.input_name}' contains variable dimensions."
    elif len(initial.dims) != len(state.dims) or any(
        wanted not in (-1, got) for got, wanted in zip(initial.dims, state.dims, strict=True)
    ):
        yield (
            f"'initial_state' dim for input name '{state.input_name}' doesn't match 'state' dim description."
            f" {list(initial.dims)} != {list(state.dims)}"
        )
