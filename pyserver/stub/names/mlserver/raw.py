"""Tensors as the raw contents of gRPC's messages."""

from __future__ import annotations

from typing import Any, List, Tuple

from mlserver.grpc.converters import packed, unpacked
from mlserver.types import TensorData


def pack(elem: Any) -> bytes:
    """The raw bytes of an input's or output's data."""
    return packed(elem.data, elem.datatype)


def unpack(elem: Any, raw: bytes) -> List[Any]:
    """The elements in `raw`, for an input or output of this datatype."""
    return unpacked(raw, elem.datatype)


def inject_raw(elems: List[Any], raw_contents: List[bytes]) -> List[Any]:
    """Fill those that have no data with `raw_contents`, in order."""
    rest = iter(raw_contents)
    for elem in elems:
        if not elem.data:
            elem.data = TensorData(unpack(elem, next(rest)))
    return elems


def extract_raw(elems: List[Any]) -> Tuple[List[Any], List[bytes]]:
    """Take the data out of all: these without, and the raw bytes."""
    raw = [pack(elem) for elem in elems]
    for elem in elems:
        elem.data = TensorData([])
    return elems, raw
