"""The `parameters` of a gRPC inference request: the reserved ones, and those of the model's own.

They come as a dict of plain values, None for a parameter without one. An int64_param and a uint64_param look alike
here, unless the number fits into only one of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pyserver.errors import ServerError, invalid, unsupported
from pyserver.types import SEQUENCE_END, SEQUENCE_START, Parameter

RESERVED_PREFIX = "triton_"
EMPTY_FINAL_RESPONSE = "triton_enable_empty_final_response"
MAX_CORRELATION_ID = 128
"""Characters of a correlation id that is a string."""

_WRAP = 1 << 64
_INT64_END = 1 << 63


class Parameters(NamedTuple):
    """What a request's parameters say; fields as those of `InferRequest`, `custom` are the rest."""

    custom: dict[str, Parameter] | None = None
    priority: int = 0
    timeout_us: int = 0
    correlation_id: int | str = 0
    flags: int = 0


NONE = Parameters()


def decode_parameters(given: dict[str, Any]) -> Parameters:
    """ServerError where a reserved key has another type than it should, a custom one has no value or one that no
    int64_param holds, or a key starts with `triton_`.
    """
    known: dict[str, Any] = {}
    custom: dict[str, Parameter] = {}
    flags = 0
    for key, value in given.items():
        if key == "sequence_start":
            flags |= SEQUENCE_START if _boolean(key, value) else 0
        elif key == "sequence_end":
            flags |= SEQUENCE_END if _boolean(key, value) else 0
        elif key == "sequence_id":
            known["correlation_id"] = _correlation_id(value)
        elif key == "priority":
            known["priority"] = _unsigned(key, value)
        elif key == "timeout":
            known["timeout_us"] = _unsigned(key, value)
        elif key.startswith(RESERVED_PREFIX):
            _check_reserved(key, value)
        else:
            custom[key] = custom_parameter(key, value)
    return Parameters(custom, flags=flags, **known)


def wrong_type(key: str, expected: str, where: str = "the request") -> ServerError:
    """A parameter has another choice set than it should."""
    return invalid(f"invalid value type for '{key[:64]}' parameter, expected {expected}. It is one of {where}.")


def _correlation_id(value: Any) -> int | str:
    """A number wraps to an unsigned one, as in Triton; a string is short."""
    if isinstance(value, str):
        if len(value) > MAX_CORRELATION_ID:
            raise unsupported(
                f"string correlation ID cannot be longer than {MAX_CORRELATION_ID} characters, got {len(value)}"
            )
        return value
    if type(value) is not int:
        raise wrong_type("sequence_id", "int64_param or string_param")
    return value % _WRAP


def _boolean(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(key, "bool_param")
    return value


def _unsigned(key: str, value: Any) -> int:
    if type(value) is not int:
        raise wrong_type(key, "int64_param")
    if value < 0:
        raise invalid(f"parameter '{key}' is {value}, expected 0 or more")
    return value


def _check_reserved(key: str, value: Any) -> None:
    if key != EMPTY_FINAL_RESPONSE:
        raise invalid(
            f"parameter keys starting with '{RESERVED_PREFIX}' are reserved for Triton usage and should not be "
            f"specified. Only the following keys starting with '{RESERVED_PREFIX}' are allowed: "
            f"{EMPTY_FINAL_RESPONSE}. Got '{key[:64]}'."
        )
    _boolean(key, value)


def custom_parameter(key: str, value: Any) -> Parameter:
    """A parameter of the client's own; ServerError for one without a value, or with one that no int64_param holds."""
    # Triton's own text leaves out double_param, which it takes.
    if value is None or (type(value) is int and value >= _INT64_END):
        raise wrong_type(key, "int64_param, bool_param, or string_param")
    parameter: Parameter = value
    return parameter
