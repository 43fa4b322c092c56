"""The compiled JSON reader and writer, with its errors in the protocol's words and codes."""

from __future__ import annotations

from typing import Any

import orjson

from pyserver.core import json as core_json
from pyserver.core import tensor as core
from pyserver.core.bytes import ElementsError
from pyserver.errors import ServerError, internal, invalid
from pyserver.protocol import rest_values as json_as
from pyserver.types import Buffer, Tensor

JsonData = core_json.JsonData
MAX_DEPTH = 100
"""How deep JSON may be nested unless told otherwise."""
MAX_VALUES = 1_000_000
"""Values in a document that is read into Python objects: of a few bytes each, they would take a hundred times that."""


def loads(text: Buffer, max_bytes: int, max_depth: int = MAX_DEPTH) -> Any:
    """The document in `text`; an array under a key `data` as a `JsonData` of no more than `max_bytes`.

    ServerError (400) for what is not JSON, deeper than `max_depth`, or holds elements that their datatype doesn't take.
    """
    try:
        return core_json.loads(text, max_bytes, max_depth)
    except core_json.JsonError as error:
        raise _told(error) from None


def plain(text: bytes | bytearray, max_depth: int = MAX_DEPTH) -> Any:
    """The document in `text`, all of it as Python objects: for small ones, and those whose `data` is nothing special.

    ServerError (400) for what is not JSON, deeper than `max_depth`, or of more than MAX_VALUES values: these are
    counted before there are any, as commas and opening brackets, in texts as well.
    """
    opened = text.count(b"[") + text.count(b"{")
    if opened + text.count(b",") > MAX_VALUES:
        raise invalid(f"failed to parse the request JSON buffer: it has more than {MAX_VALUES} values")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise invalid(f"failed to parse the request JSON buffer: {error.msg} at {error.pos}") from None
    if opened > max_depth and _depth(document) > max_depth:
        raise invalid(
            f"failed to parse the request JSON buffer: JSON nesting depth exceeds maximum allowed limit ({max_depth}). "
            "Use --http-max-json-depth to increase the limit."
        )
    return document


def _depth(document: Any) -> int:
    """How many arrays and objects stand inside each other; of orjson's documents, which has a limit of its own."""
    depth, level = 0, [document]
    while level := [each for each in level if isinstance(each, list | dict)]:
        depth += 1
        level = [inner for each in level for inner in (each if isinstance(each, list) else each.values())]
    return depth


def elements(value: object, shape: tuple[int, ...], where: str) -> Buffer:
    """The raw bytes of an input's `data`. ServerError (400) unless it is an array of as many as `shape` has."""
    if not isinstance(value, core_json.JsonData):
        raise json_as.unparsable("data", f"attempt to access JSON non-array as array: got {json_as.kind(value)}", where)
    try:
        count = core.element_count(shape)
    except OverflowError as error:
        raise invalid(f"{error}{where}") from None
    if value.count != count:
        raise json_as.unparsable(
            "data",
            f"Shape does not match true shape of 'data' field: got {value.count} elements, "
            f"shape {list(shape)} has {count}",
            where,
        )
    buffer: Buffer = value.buffer
    return buffer


def dumps(tensor: Tensor) -> bytes:
    """The elements of `tensor` as a flat JSON array.

    ServerError: 400 for BYTES that aren't UTF-8, which JSON can't hold (Triton sends a broken document), 500 for data
    that isn't what datatype and shape say.
    """
    try:
        text: bytes = core_json.dumps_array(tensor.datatype, tensor.data, core.element_count(tensor.shape))
    except ElementsError as error:
        raise internal(f"output '{tensor.name}' has broken BYTES elements: {error}") from None
    except ValueError as error:
        fault = invalid if tensor.datatype == "BYTES" else internal
        raise fault(f"output '{tensor.name}' can't be sent as JSON: {error}") from None
    return text


def _told(error: core_json.JsonError) -> ServerError:
    """What a client is told about a `JsonError`, in Triton's words where it has them (spec 1.13, rows 7 and 14)."""
    where = f" of input '{json_as.shortened(error.name)}'" if isinstance(error.name, str) else ""
    if error.kind == "depth":
        text = f"failed to parse the request JSON buffer: {error}{where}"
        return invalid(f"{text}. Use --http-max-json-depth to increase the limit.")
    if error.kind == "limit" and where:
        return json_as.unparsable("data", f"{error}{where}", ". Use --http-max-input-size to increase the limit.")
    if error.kind == "type" and error.reason.endswith("as string"):
        return invalid(f"Unable to parse JSON bytes array: {error}{where}")
    if error.kind == "type" or (error.kind == "range" and where):
        return json_as.unparsable("data", str(error), where)
    return invalid(f"failed to parse the request JSON buffer: {error}{where}")
