"""BYTES tensors: each element behind its length, a 4-byte little-endian integer.

The compiled `pyserver.stub._bytes` does the work where it can be loaded; the Python functions here are its twins, and
serve everywhere else.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Callable

import numpy as np

_LENGTH = struct.Struct("<I")
_MAX_LENGTH = 0xFFFFFFFF


def pack_python(elements: list[Any]) -> bytes:
    """The elements one behind the other: bytes as they are, anything else as the UTF-8 text of `str(element)`."""
    parts = []
    for element in elements:
        if not isinstance(element, bytes):
            element = str(element).encode()
        if len(element) > _MAX_LENGTH:
            raise ValueError(f"a BYTES element has {len(element)} bytes, the most is {_MAX_LENGTH}")
        parts.append(_LENGTH.pack(len(element)))
        parts.append(element)
    return b"".join(parts)


def unpack_python(data: bytes, count: int = -1) -> np.ndarray[Any, Any]:
    """Return the elements of `data` as an array of bytes objects.

    ValueError where it ends within one, or if there are not `count` (-1: any number) of them.
    """
    elements = []
    at, end = 0, len(data)
    while at < end:
        if end - at < 4:
            raise ValueError(f"incomplete string length indicator at byte {at} of {end}")
        (length,) = _LENGTH.unpack_from(data, at)
        at += 4
        if length > end - at:
            raise ValueError(f"incomplete string data: expecting {length} bytes at byte {at} of {end}")
        elements.append(data[at : at + length])
        at += length
    if count not in (-1, len(elements)):
        raise ValueError(f"expected {count} string elements, got {len(elements)}")
    return np.array(elements, dtype=object)


pack_list: Callable[[list[Any]], bytes] = pack_python
unpack_flat: Callable[[bytes, int], np.ndarray[Any, Any]] = unpack_python
try:
    from pyserver.stub import _bytes
except ImportError:
    pass
else:

    def unpack_compiled(data: bytes, count: int = -1) -> np.ndarray[Any, Any]:
        """Do what `unpack_python` does."""
        array = np.empty(_bytes.count(data) if count == -1 else count, object)
        _bytes.unpack(data, array.__array_interface__["data"][0], array.size)
        return array

    pack_list, unpack_flat = _bytes.pack, unpack_compiled


def pack(array: np.ndarray[Any, Any]) -> bytes:
    """The elements of an array of objects or strings, in row-major order."""
    if array.dtype.kind != "O":
        array = array.astype(object)
    return pack_list(array.ravel().tolist())


def unpack(data: bytes, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """An object array of bytes. ValueError where `data` is cut, or holds another number of elements."""
    return unpack_flat(data, math.prod(shape)).reshape(shape)
