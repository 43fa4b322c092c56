"""What a V2 request must look like for MLServer: its 422, in the shape that its clients know (a list of details)."""

from __future__ import annotations

from typing import Any

import orjson

from pyserver.errors import ErrorCode, ServerError
from pyserver.protocol import status

DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
)  # fmt: skip
_KNOWN = frozenset((*DATATYPES, "BF16"))
_EXPECTED = ", ".join(f"'{name}'" for name in DATATYPES[:-1]) + f" or '{DATATYPES[-1]}'"
_LONGEST = 200


class SchemaError(ServerError):
    """A request that is no V2 request: `detail` says where and why, `details` what else is wrong with it."""

    def __init__(self, kind: str, place: list[str | int], message: str, got: Any, **context: Any) -> None:
        super().__init__(ErrorCode.INVALID_ARG, f"{'.'.join(map(str, place))}: {message}")
        self.status = status.UNPROCESSABLE
        self.detail: dict[str, Any] = {"type": kind, "loc": place, "msg": message, "input": _shown(got)}
        if context:
            self.detail["ctx"] = context
        self.details = [self.detail]

    def body(self) -> bytes:
        """The JSON of the answer."""
        return orjson.dumps({"detail": self.details}, default=str)


def _shown(value: Any) -> Any:
    """A value as an error repeats it; too large a one is only named."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        return f"<{type(value).__name__}>"
    return value if len(text) <= _LONGEST else f"<{type(value).__name__} of {len(text)} bytes>"


def bad_json(position: int, reason: str) -> SchemaError:
    """The body is not JSON from byte `position` on."""
    return SchemaError("json_invalid", ["body", position], "JSON decode error", {}, error=reason)


def member(mapping: dict[str, Any], key: str, place: list[str | int]) -> Any:
    """`mapping[key]`, which must be there."""
    if key not in mapping:
        raise SchemaError("missing", [*place, key], "Field required", mapping)
    return mapping[key]


def mapping(value: Any, place: list[str | int]) -> dict[str, Any]:
    """`value`, which must be an object."""
    if not isinstance(value, dict):
        message = "Input should be a valid dictionary or object to extract fields from"
        raise SchemaError("model_attributes_type", place, message, value)
    return value


def listed(value: Any, place: list[str | int]) -> list[Any]:
    """`value`, which must be an array."""
    if not isinstance(value, list):
        raise SchemaError("list_type", place, "Input should be a valid list", value)
    return value


def text(value: Any, place: list[str | int]) -> str:
    """`value`, which must be a string."""
    if not isinstance(value, str):
        raise SchemaError("string_type", place, "Input should be a valid string", value)
    return value


def datatype(value: Any, place: list[str | int]) -> str:
    """`value`, which must be a datatype."""
    if not isinstance(value, str) or value not in _KNOWN:
        raise SchemaError("enum", place, f"Input should be {_EXPECTED}", value, expected=_EXPECTED)
    return value


def shape(value: Any, place: list[str | int]) -> tuple[int, ...]:
    """`value`, which must be an array of integers."""
    for at, size in enumerate(listed(value, place)):
        if type(size) is not int:
            raise SchemaError("int_type", [*place, at], "Input should be a valid integer", size)
    return tuple(value)
