"""JSON text <-> what a REST body holds: the envelope as Python objects, tensor data as raw V2 bytes."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import orjson

from pyserver.errors import invalid
from pyserver.protocol import rest_values as json_as
from pyserver.types import Buffer

_DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip


def loads(text: Buffer) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise invalid(f"failed to parse the request JSON buffer: {error.msg} at {error.pos}") from None


def raw(value: Any, datatype: str, shape: tuple[int, ...], where: str) -> bytes:
    """The raw bytes of a JSON `data` value."""
    flat: list[Any] = []
    stack = [iter(json_as.array(value, "data", where))]
    while stack:
        for item in stack[-1]:
            if isinstance(item, list):
                stack.append(iter(item))
                break
            flat.append(item)
        else:
            stack.pop()
    count = math.prod(shape)
    if len(flat) != count:
        raise json_as.unparsable(
            "data",
            f"Shape does not match true shape of 'data' field: got {len(flat)} elements, expected {count}",
            where,
        )
    if datatype == "BYTES":
        return b"".join(
            len(t).to_bytes(4, "little") + t for t in (json_as.string(i, "data", where).encode() for i in flat)
        )
    if datatype == "BF16":
        return (np.array(flat, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return np.array(flat, _DTYPES[datatype]).tobytes()


def dumps(datatype: str, data: Buffer) -> bytes:
    """A flat JSON array of the elements."""
    if datatype == "BYTES":
        out, at = [], 0
        while at < len(data):
            n = int.from_bytes(data[at : at + 4], "little")
            out.append(bytes(data[at + 4 : at + 4 + n]).decode())
            at += 4 + n
        return orjson.dumps(out)
    if datatype == "BF16":
        array = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype("f8")
    else:
        array = np.frombuffer(data, _DTYPES[datatype])
    if array.dtype.kind == "f":
        array = array.astype("f8")
        if not np.isfinite(array).all():
            return json.dumps(array.tolist()).encode()
    return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
