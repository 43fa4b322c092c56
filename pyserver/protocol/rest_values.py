"""Typed access to parsed JSON, with the words that Triton's clients and tests look for in the errors."""

from __future__ import annotations

from typing import Any

from pyserver.errors import ServerError, invalid

UINT64_END = 1 << 64
INT64_END = 1 << 63


def kind(value: object) -> str:
    """What `value` is in JSON's words: `null`, `a boolean`, `an integer 5`, `a string`, ..."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the string '{shortened(value)}'"
    return "an object" if isinstance(value, dict) else "an array"


def shortened(text: str) -> str:
    """`text`, cut where it is too long for an error."""
    return text if len(text) <= 64 else f"{text[:61]}..."


def unparsable(key: str, reason: str, where: str) -> ServerError:
    """`Unable to parse 'key': reason`, and where that was."""
    return invalid(f"Unable to parse '{key}': {reason}{where}")


def member(mapping: dict[str, Any], key: str, where: str) -> Any:
    """`mapping[key]`, which must exist."""
    try:
        return mapping[key]
    except KeyError:
        raise unparsable(key, f"attempt to access non-existing object member '{key}'", where) from None


def array(value: object, key: str, where: str) -> list[Any]:
    """`value`, which must be an array."""
    if not isinstance(value, list):
        raise unparsable(key, f"attempt to access JSON non-array as array: got {kind(value)}", where)
    return value


def mapping(value: object, key: str, where: str) -> dict[str, Any]:
    """`value`, which must be an object."""
    if not isinstance(value, dict):
        raise unparsable(key, f"attempt to get members for non-object: got {kind(value)}", where)
    return value


def string(value: object, key: str, where: str) -> str:
    """`value`, which must be a string."""
    if not isinstance(value, str):
        raise unparsable(key, f"attempt to access JSON non-string as string: got {kind(value)}", where)
    return value


def boolean(value: object, key: str, where: str) -> bool:
    """`value`, which must be true or false."""
    if not isinstance(value, bool):
        raise unparsable(key, f"attempt to access JSON non-boolean as boolean: got {kind(value)}", where)
    return value


def unsigned(value: object, key: str, where: str, end: int = UINT64_END) -> int:
    """`value`, which must be an integer from 0 up to, but not, `end`."""
    if type(value) is not int or not 0 <= value < end:
        reason = f"attempt to access JSON non-unsigned-integer as unsigned-integer: got {kind(value)}"
        raise unparsable(key, reason, where)
    return value
