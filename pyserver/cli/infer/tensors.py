"""The tensors of a request, or an answer, between their JSON and their bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip


def flat(data: Any) -> list[Any]:
    """The elements of `data`, which may be nested or one value alone."""
    if not isinstance(data, list):
        return [data]
    if not any(isinstance(each, list) for each in data):
        return data
    return [value for each in data for value in flat(each)]


def to_bytes(datatype: str, data: Any) -> bytes:
    """Elements in the protocol's raw layout; ValueError if they are not of their type."""
    elements = flat(data)
    if datatype == "BYTES":
        return b"".join(_with_length(_encoded(value)) for value in elements)
    if datatype not in DTYPES:
        raise ValueError(f"datatype '{datatype}' can't be sent as binary data, expected one of {', '.join(DTYPES)}")
    try:
        if "f" in DTYPES[datatype]:
            elements = [np.nan if value is None else value for value in elements]
        return np.array(elements, DTYPES[datatype]).tobytes()
    except (TypeError, OverflowError, ValueError) as error:
        raise ValueError(f"{datatype} data: {error}") from None


def of_bytes(datatype: str, raw: bytes) -> list[Any]:
    """Elements from the raw layout, as JSON has them: null for what is no finite number."""
    if datatype == "BYTES":
        return [value.decode("utf-8", "replace") for value in _split(raw)]
    if datatype == "BF16":
        wide = np.frombuffer(raw, "<u2").astype("<u4") << 16
        return finite(wide.view("<f4"))
    return finite(np.frombuffer(raw, DTYPES[datatype]))


def finite(array: np.ndarray[Any, Any]) -> list[Any]:
    """An array's elements, None for NaN and infinities."""
    values: list[Any] = array.tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [value if ok else None for value, ok in zip(values, np.isfinite(array), strict=True)]
    return values


def _encoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"BYTES data holds {value!r}, expected texts")
    return value.encode()


def _with_length(value: bytes) -> bytes:
    return struct.pack("<I", len(value)) + value


def _split(raw: bytes) -> Iterable[bytes]:
    start = 0
    while start < len(raw):
        (length,) = struct.unpack_from("<I", raw, start)
        yield raw[start + 4 : start + 4 + length]
        start += 4 + length
