"""A configuration as the JSON document that Triton prints, and back.

All fields of a message are printed, set or not, in the order in which proto/ declares them; messages and members of a
oneof only where they are set. Enums are printed by name. 64-bit integers are numbers, where protobuf's own JSON has
strings: models read this document with `json.loads`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyserver.errors import ServerError, invalid
from pyserver.proto import model_config
from pyserver.repository.pbtxt import nearest

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

    from pyserver.proto.model_config import ModelConfig

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# FieldDescriptor.CPPTYPE_*, which are protobuf's and never change.
_INT32, _INT64, _UINT32, _UINT64, _DOUBLE, _FLOAT, _BOOL, _ENUM, _STRING, _MESSAGE = range(1, 11)
_RANGES = {
    _INT32: (-(1 << 31), (1 << 31) - 1),
    _INT64: (-(1 << 63), (1 << 63) - 1),
    _UINT32: (0, (1 << 32) - 1),
    _UINT64: (0, (1 << 64) - 1),
}


def to_json(config: ModelConfig) -> str:
    """Print a configuration as one line of JSON."""
    return json.dumps(to_dict(config), ensure_ascii=False, separators=(",", ":"))


def to_dict(message: Message) -> dict[str, Any]:
    """Return a message as `to_json` prints it, in Python's types."""
    printed: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if _is_map(field):
            of = field.message_type.fields_by_name["value"]
            printed[field.name] = {_key_text(key): _printed(of, value[key]) for key in sorted(value)}
        elif _is_repeated(field):
            printed[field.name] = [_printed(field, item) for item in value]
        elif not field.has_presence or message.HasField(field.name):
            printed[field.name] = _printed(field, value)
    return printed


def _printed(field: FieldDescriptor, value: Any) -> Any:
    if field.cpp_type == _MESSAGE:
        return to_dict(value)
    if field.cpp_type == _ENUM:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if field.cpp_type in (_FLOAT, _DOUBLE):
        return _printed_float(value, field.cpp_type == _FLOAT)
    return value


def _printed_float(value: float, single: bool) -> Any:
    if not math.isfinite(value):
        return next(name for name, number in _NUMBERS.items() if repr(number) == repr(value))
    if single:  # The shortest text that reads back as the same 32 bits.
        value = next(
            short
            for short in (float(f"{value:.{digits}g}") for digits in range(6, 10))
            if struct.pack("<f", short) == struct.pack("<f", value)
        )
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value


def _key_text(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key)


def from_json(text: str) -> ModelConfig:
    """Read a configuration from JSON, with Triton's field names or their camelCase.

    ServerError (INVALID_ARG) names the field: for what is unknown, twice there, or of the wrong type or range.
    """
    try:
        values = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise invalid(f"model configuration is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise invalid(f"model configuration is {_shown(values)}, expected a JSON object")
    config = model_config.ModelConfig()
    _fill(config, values, "")
    return config


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise invalid(f"model configuration has '{twice}' twice in one object")
    return values


def _fill(message: Message, values: dict[str, Any], path: str) -> None:
    descriptor: Any = message.DESCRIPTOR
    for name, value in values.items():
        where = f"{path}.{name}" if path else name
        field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
        if field is None:
            near = nearest(name, descriptor.fields_by_name)
            raise invalid(f"model configuration has an unknown field '{where}'{near}")
        if value is not None:
            _check_oneof(message, field, where)
            _set(message, field, value, where)


def _check_oneof(message: Message, field: FieldDescriptor, where: str) -> None:
    other = message.WhichOneof(field.containing_oneof.name) if field.containing_oneof else None
    if other is not None:
        raise invalid(f"model configuration has '{where}' beside '{other}', expected only one of them")


def _set(message: Message, field: FieldDescriptor, value: Any, where: str) -> None:
    if _is_map(field):
        _set_map(message, field, _of(dict, value, where, "an object"), where)
    elif _is_repeated(field):
        items = getattr(message, field.name)
        for number, item in enumerate(_of(list, value, where, "an array")):
            if field.cpp_type == _MESSAGE:
                _fill(items.add(), _of(dict, item, f"{where}[{number}]", "an object"), f"{where}[{number}]")
            else:
                items.append(_scalar(field, item, f"{where}[{number}]"))
    elif field.cpp_type == _MESSAGE:
        inner = getattr(message, field.name)
        inner.SetInParent()
        _fill(inner, _of(dict, value, where, "an object"), where)
    else:
        setattr(message, field.name, _scalar(field, value, where))


def _set_map(message: Message, field: FieldDescriptor, values: dict[str, Any], where: str) -> None:
    entries = getattr(message, field.name)
    key_of, value_of = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    for name, value in values.items():
        here = f"{where}['{name}']"
        key = _scalar(key_of, name, here)
        if value_of.cpp_type == _MESSAGE:
            entries[key].SetInParent()
            _fill(entries[key], _of(dict, value, here, "an object"), here)
        else:
            entries[key] = _scalar(value_of, value, here)


def _scalar(field: FieldDescriptor, value: Any, where: str) -> Any:
    if field.cpp_type in _RANGES:
        return _integer(value, where, *_RANGES[field.cpp_type])
    return _READERS[field.cpp_type](field, value, where)


def _integer(value: Any, where: str, low: int, high: int) -> int:
    number = value
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) <= 20:
        number = int(value)  # Protobuf's own JSON has 64-bit integers, and all keys of maps, in quotes.
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    if not isinstance(number, int) or isinstance(number, bool):
        raise _wrong(value, where, "an integer")
    if not low <= number <= high:
        raise _wrong(value, where, f"an integer from {low} to {high}")
    return number


def _float(field: FieldDescriptor, value: Any, where: str) -> float:
    if isinstance(value, str) and value in _NUMBERS:
        return _NUMBERS[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(value, where, "a number")
    return float(value)


def _enum(field: FieldDescriptor, value: Any, where: str) -> int:
    values = field.enum_type.values_by_name
    if isinstance(value, str) and value in values:
        return int(values[value].number)
    if isinstance(value, int) and not isinstance(value, bool) and value in field.enum_type.values_by_number:
        return value
    near = nearest(value, values) if isinstance(value, str) else ""
    raise _wrong(value, where, f"one of {', '.join(values)}{near}")


def _string(field: FieldDescriptor, value: Any, where: str) -> str:
    text: str = _of(str, value, where, "a string")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _wrong(value, where, "valid Unicode") from None
    return text


def _bool(field: FieldDescriptor, value: Any, where: str) -> bool:
    truth: bool = _of(bool, value, where, "true or false")
    return truth


_READERS: dict[int, Callable[[FieldDescriptor, Any, str], Any]] = {
    _FLOAT: _float,
    _DOUBLE: _float,
    _ENUM: _enum,
    _STRING: _string,
    _BOOL: _bool,
}


def _of(kind: type, value: Any, where: str, expected: str) -> Any:
    if not isinstance(value, kind):
        raise _wrong(value, where, expected)
    return value


def _wrong(value: Any, where: str, expected: str) -> ServerError:
    return invalid(f"model configuration: '{where}' is {_shown(value)}, expected {expected}")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _is_map(field: FieldDescriptor) -> bool:
    return field.cpp_type == _MESSAGE and bool(field.message_type.GetOptions().map_entry)


def _is_repeated(field: FieldDescriptor) -> bool:
    found = getattr(field, "is_repeated", None)  # Not before protobuf 6.30; `label` is on its way out.
    return bool(field.label == field.LABEL_REPEATED if found is None else found)
