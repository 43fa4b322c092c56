"""The `parameters` of a REST inference request: the reserved ones, and those of the model's own."""

from __future__ import annotations

from typing import Any, NamedTuple

from pyserver.errors import invalid
from pyserver.protocol import rest_values as json_as
from pyserver.types import SEQUENCE_END, SEQUENCE_START, Parameter

RESERVED_PREFIX = "triton_"


class Parameters(NamedTuple):
    """What a request's parameters say; fields as those of `InferRequest`, `custom` are the rest."""

    custom: dict[str, Parameter]
    binary_output: bool = False
    priority: int = 0
    timeout_us: int = 0
    correlation_id: int | str = 0
    flags: int = 0


NONE = Parameters({})


def decode_parameters(value: object) -> Parameters:
    """The request's `parameters` object.

    ServerError (400) where it is none, a reserved key has another type than it should, a custom one is not a number,
    boolean or string, or a key starts with `triton_`.
    """
    if not isinstance(value, dict):
        raise invalid(
            f"failed to get request params.: attempt to get members for non-object: got {json_as.kind(value)}"
        )
    known: dict[str, Any] = {}
    custom: dict[str, Parameter] = {}
    flags = 0
    for key, item in value.items():
        if key == "sequence_start":
            flags |= SEQUENCE_START if json_as.boolean(item, key, "") else 0
        elif key == "sequence_end":
            flags |= SEQUENCE_END if json_as.boolean(item, key, "") else 0
        elif key == "sequence_id":
            known["correlation_id"] = item if isinstance(item, str) else json_as.unsigned(item, key, "")
        elif key == "priority":
            known["priority"] = json_as.unsigned(item, key, "")
        elif key == "timeout":
            known["timeout_us"] = json_as.unsigned(item, key, "")
        elif key == "binary_data_output":
            known["binary_output"] = json_as.boolean(item, key, "")
        else:
            custom[key] = _custom(key, item)
    return Parameters(custom, flags=flags, **known)


def _custom(key: str, value: object) -> Parameter:
    if key.startswith(RESERVED_PREFIX):
        raise invalid(
            f"parameter keys starting with '{RESERVED_PREFIX}' are reserved for Triton usage and should not be "
            f"specified. Got '{json_as.shortened(key)}'."
        )
    if not isinstance(value, bool | int | float | str):
        raise invalid(
            f"parameter '{json_as.shortened(key)}' has invalid type. It should be either 'int', 'bool', or 'string'. "
            f"Got {json_as.kind(value)}."
        )
    if type(value) is int and not -json_as.INT64_END <= value < json_as.INT64_END:
        raise invalid(
            f"parameter '{json_as.shortened(key)}' is {value}, which does not fit into a signed 64-bit integer"
        )
    return value
