"""From a model's sequence_batching to the sequence batcher's policy, control tensors and states."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyserver.errors import invalid
from pyserver.scheduler.controls import READY, Controls, FlagControl, IdControl
from pyserver.scheduler.fillers import zeros
from pyserver.scheduler.formation import SequencePolicy
from pyserver.scheduler.implicit_state import States, StateSpec
from pyserver.scheduler.policy import MICROSECOND
from pyserver.types import SEQUENCE_END, SEQUENCE_START

INITIAL_STATE_FOLDER = "initial_state"
_FLAGS = {
    "CONTROL_SEQUENCE_START": SEQUENCE_START,
    "CONTROL_SEQUENCE_END": SEQUENCE_END,
    "CONTROL_SEQUENCE_READY": READY,
}


def sequence_policy(config: Any) -> SequencePolicy:
    """How a normalised ModelConfig message wants its sequences batched."""
    batching = config.sequence_batching
    rows = max(1, config.max_batch_size)
    idle_ns = batching.max_sequence_idle_microseconds * MICROSECOND
    if batching.HasField("oldest"):
        oldest = batching.oldest
        return SequencePolicy(
            max(1, oldest.max_candidate_sequences),
            rows,
            idle_ns,
            direct=False,
            max_delay_ns=oldest.max_queue_delay_microseconds * MICROSECOND,
            goal=max(oldest.preferred_batch_size, default=rows),
            preserve_ordering=oldest.preserve_ordering,
            iterative=batching.iterative_sequence,
        )
    direct = batching.direct
    return SequencePolicy(
        rows,
        rows,
        idle_ns,
        max_delay_ns=direct.max_queue_delay_microseconds * MICROSECOND,
        utilization=direct.minimum_slot_utilization,
        iterative=batching.iterative_sequence,
    )


def make_controls(config: Any) -> Controls:
    """The control tensors of a normalised ModelConfig message."""
    flags: list[FlagControl] = []
    correlation = None
    for entry in config.sequence_batching.control_input:
        for control in entry.control:
            kind = control.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[control.kind].name
            if kind in _FLAGS:
                flags.append(_flag(entry.name, control, _FLAGS[kind]))
            else:
                correlation = IdControl(entry.name, _datatype(control))
    return Controls(flags, correlation, config.max_batch_size > 0)


def _flag(name: str, control: Any, flag: int) -> FlagControl:
    if control.int32_false_true:
        datatype, (no, yes) = "INT32", (struct.pack("<i", value) for value in control.int32_false_true)
    elif control.fp32_false_true:
        datatype, (no, yes) = "FP32", (struct.pack("<f", value) for value in control.fp32_false_true)
    else:
        datatype, (no, yes) = "BOOL", (struct.pack("<?", value) for value in control.bool_false_true)
    return FlagControl(name, datatype, flag, no, yes)


def make_states(config: Any, initial: Mapping[str, bytes]) -> States:
    """The implicit states of a normalised ModelConfig message; `initial` is what data files hold, by state input."""
    specs = [_state(config.name, entry, initial) for entry in config.sequence_batching.state]
    return States(config.name, specs, [output.name for output in config.output], config.max_batch_size > 0)


def _state(model: str, entry: Any, initial: Mapping[str, bytes]) -> StateSpec:
    datatype = _datatype(entry)
    shape = tuple(entry.initial_state[0].dims) if entry.initial_state else tuple(max(1, size) for size in entry.dims)
    data = zeros(datatype, shape)
    if entry.input_name in initial:
        given = initial[entry.input_name]
        if len(given) != len(data) and datatype != "BYTES":
            raise invalid(
                f"model '{model}': initial state of '{entry.input_name}' has {len(given)} bytes in its data_file,"
                f" expected {len(data)}"
            )
        data = given
    return StateSpec(entry.input_name, entry.output_name, datatype, tuple(entry.dims), shape, data)


def read_initial_states(folder: Path, config: Any) -> dict[str, bytes]:
    """What the data files of the initial states hold, by the state's input; ServerError for one that can't be read."""
    found: dict[str, bytes] = {}
    for entry in config.sequence_batching.state:
        for state in entry.initial_state:
            if state.WhichOneof("state_data") == "data_file":
                path = folder / INITIAL_STATE_FOLDER / state.data_file
                found[entry.input_name] = read_data(config.name, path)
    return found


def read_data(model: str, path: Path) -> bytes:
    """The bytes of a file that a configuration names; ServerError (INVALID_ARG) if it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise invalid(f"model '{model}': can't read '{path}': {error.strerror}") from error


def _datatype(message: Any) -> str:
    """The protocol's name of a message's `data_type`."""
    values = message.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    short = str(values[message.data_type].name).removeprefix("TYPE_")
    return "BYTES" if short == "STRING" else short
