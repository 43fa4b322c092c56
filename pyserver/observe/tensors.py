"""A tensor as text, for traces: its elements with commas between them, as Triton writes them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

from pyserver.types import Buffer, Tensor

FORMATS = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip


def shown(tensor: Tensor) -> dict[str, str]:
    """Name, data, shape and datatype."""
    shape = ",".join(map(str, tensor.shape))
    return {"name": tensor.name, "data": ",".join(_elements(tensor)), "shape": shape, "dtype": tensor.datatype}


def _elements(tensor: Tensor) -> Iterator[str]:
    data, datatype = tensor.data, tensor.datatype
    if datatype == "BYTES":
        return _texts(data)
    if datatype == "BF16":  # the upper half of an FP32
        return (f"{struct.unpack('<f', bytes((0, 0, *pair)))[0]:g}" for (pair) in _pairs(data))
    if datatype == "BOOL":
        return ("1" if value else "0" for value in bytes(data))
    code = FORMATS[datatype]
    size = struct.calcsize("<" + code)
    values = (value[0] for value in struct.iter_unpack("<" + code, bytes(data)[: len(data) // size * size]))
    return (f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _pairs(data: Buffer) -> Iterator[bytes]:
    text = bytes(data)
    return (text[at : at + 2] for at in range(0, len(text) - 1, 2))


def _texts(data: Buffer) -> Iterator[str]:
    text, at = bytes(data), 0
    while at + 4 <= len(text):
        length = int.from_bytes(text[at : at + 4], "little")
        yield json.dumps(text[at + 4 : at + 4 + length].decode("utf-8", "backslashreplace"))
        at += 4 + length
