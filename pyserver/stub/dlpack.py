"""DLPack in and out, on the CPU, with numpy's own support where it has any.

numpy has no bfloat16, and older ones have no DLPack: such tensors are read through the structure of the DLPack ABI
(version 0, `DLManagedTensor` in a capsule named "dltensor"), and copied.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from pyserver.stub.exceptions import TritonModelException

CPU = 1
_HOST_DEVICES = (CPU, 3)  # 3: page-locked host memory
_BFLOAT = 4
_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}
_NAME = b"dltensor"


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class _Source:
    """What `np.from_dlpack` wants, around a capsule."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0


def imported(source: Any) -> tuple[np.ndarray[Any, Any], bool]:
    """The array behind a capsule or an object with `__dlpack__`, and whether it holds bfloat16 (as uint16).

    TritonModelException for what is not on the CPU, not row-major, or of a type that the protocol has not.
    """
    if hasattr(source, "__dlpack_device__") and source.__dlpack_device__()[0] not in _HOST_DEVICES:
        raise TritonModelException(f"only DLPack tensors in CPU memory are supported, got {source!r}")
    capsule = source.__dlpack__() if hasattr(source, "__dlpack__") else source
    tensor = _tensor(capsule)
    if tensor.device_type not in _HOST_DEVICES:
        raise TritonModelException(f"only DLPack tensors in CPU memory are supported, got device {tensor.device_type}")
    shape = tuple(tensor.shape[: tensor.ndim])
    if tensor.strides and not _row_major(shape, tuple(tensor.strides[: tensor.ndim])):
        raise TritonModelException(
            "DLPack tensor is not contiguous. Only contiguous DLPack tensors that are stored in C-Order are supported."
        )
    if tensor.code == _BFLOAT or not hasattr(np, "from_dlpack"):
        return _copied(tensor, shape), tensor.code == _BFLOAT
    try:
        return np.from_dlpack(_Source(capsule)), False
    except (BufferError, RuntimeError, TypeError):  # a type that this numpy doesn't take: bool, before 2.0
        return _copied(tensor, shape), False


def exported(array: np.ndarray[Any, Any], bfloat: bool) -> Any:
    """A capsule of `array`; `bfloat` says that its uint16 elements are bfloat16."""
    if not hasattr(array, "__dlpack__"):
        raise TritonModelException(f"numpy {np.__version__} has no DLPack support, it came with numpy 1.22")
    capsule = (array if array.flags.writeable else array.copy()).__dlpack__()
    if bfloat:
        _tensor(capsule).code = _BFLOAT
    return capsule


def _tensor(capsule: Any) -> _DLTensor:
    try:
        return _DLTensor.from_address(_pointer(capsule, _NAME))
    except (ValueError, TypeError):
        raise TritonModelException(f"expected a DLPack capsule or an object with __dlpack__, got {capsule!r}") from None


def _row_major(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides)):
        if length != 1 and stride != expected:
            return 0 in shape
        expected *= length
    return True


def _copied(tensor: _DLTensor, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    kind = "u" if tensor.code == _BFLOAT else _KINDS.get(tensor.code)
    if kind is None or tensor.lanes != 1 or tensor.bits not in (8, 16, 32, 64):
        raise TritonModelException(f"DLPack type {tensor.code} of {tensor.bits} bits is not supported.")
    dtype = np.dtype(f"{kind}{tensor.bits // 8}")
    array = np.empty(shape, dtype)
    if array.nbytes:
        ctypes.memmove(array.ctypes.data, tensor.data + tensor.byte_offset, array.nbytes)
    return array
