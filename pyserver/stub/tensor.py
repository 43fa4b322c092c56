"""Tensors as a model sees them: pb_utils.Tensor."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pyserver.ipc.messages import Spec
from pyserver.stub import bytes_codec, dlpack
from pyserver.stub.dtypes import BY_DATATYPE, CODES, DATATYPE_OF, unusual
from pyserver.stub.exceptions import TritonModelException, incompatible

_BF16_ADVICE = (
    "tensor '{}' is BF16, which numpy has no dtype for: take it by to_dlpack(), as torch.from_dlpack(tensor) does, "
    "and give it by Tensor.from_dlpack(name, torch_tensor)"
)


class Tensor:
    """A named array. It refers to the array that it is given, unless that is not row-major: then to a copy.

    TypeError for anything but a str and an ndarray; TritonModelException for an empty name, and for dtypes that the
    protocol doesn't have (complex, datetime, structured, big-endian). Arrays of objects, bytes (S) and text (U) are
    BYTES tensors: bytes travel as they are, everything else as the UTF-8 of its `str`.
    """

    __slots__ = ("_array", "_datatype", "_name")
    _array: np.ndarray[Any, Any] | None

    def __init__(self, name: str, array: np.ndarray[Any, Any], /) -> None:
        if not isinstance(array, np.ndarray) or not isinstance(name, str):
            raise incompatible("Tensor(name: str, array: numpy.ndarray)", name, array)
        if not name:
            raise TritonModelException("Tensor name cannot be an empty string.")
        datatype = DATATYPE_OF.get(array.dtype) or unusual(array.dtype)
        if datatype is None:
            raise TritonModelException(f"NumPy dtype is not supported. Tensor '{name}' has dtype {array.dtype}")
        if not array.flags.c_contiguous:
            array = array.copy(order="C")
        self._name = name
        self._array = array
        self._datatype = datatype

    @staticmethod
    def from_dlpack(name: str, source: Any) -> Tensor:
        """A tensor of the memory behind a DLPack capsule, or an object with `__dlpack__`; bfloat16 is copied."""
        if isinstance(source, np.ndarray):
            return Tensor(name, source)
        array, bfloat = dlpack.imported(source)
        tensor = Tensor(name, array)
        if bfloat:
            tensor._datatype = "BF16"
        return tensor

    def name(self) -> str:
        """The tensor's name."""
        return self._name

    def shape(self) -> list[int]:
        """Its dims, as a new list."""
        return list(self._elements().shape)

    def as_numpy(self) -> np.ndarray[Any, Any]:
        """The array itself; of an input a writable view of shared memory, valid during execute, or objects of bytes.

        TritonModelException for a BF16 tensor that is not an array of ml_dtypes.
        """
        array = self._array
        if array is None:
            array = self._array = self._read()
        if self._datatype == "BF16" and array.dtype.kind == "u":
            raise TritonModelException(_BF16_ADVICE.format(self._name))
        return array

    def triton_dtype(self) -> int:
        """The datatype's number in Triton's C API."""
        return CODES[self._datatype]

    def is_cpu(self) -> bool:
        """Always true: tensors are in host memory."""
        return True

    def to_dlpack(self) -> Any:
        """A DLPack capsule of the tensor's memory. TritonModelException for BYTES."""
        if self._datatype == "BYTES":
            raise TritonModelException("DLPack does not have support for string tensors.")
        bfloat = self._datatype == "BF16"
        array = self._elements()
        return dlpack.exported(array.view(np.uint16) if bfloat else array, bfloat)

    def __dlpack__(self, stream: Any = None, **_: Any) -> Any:
        return self.to_dlpack()

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CPU, 0

    def _read(self) -> np.ndarray[Any, Any]:
        raise AssertionError("only inputs are read late")

    def _elements(self) -> np.ndarray[Any, Any]:
        """The array, with BF16 as whatever has its bits."""
        array = self._array
        if array is None:
            array = self._array = self._read()
        return array

    def _packed(self) -> tuple[Spec, Any, int]:
        """Spec, bytes in the protocol's layout, and their number: what an answer is made of."""
        array = self._elements()
        datatype = self._datatype
        if datatype == "BYTES":
            packed = bytes_codec.pack(array)
            return (self._name, datatype, array.shape), packed, len(packed)
        if datatype == "BF16":
            return (self._name, datatype, array.shape), array.view(np.uint16), array.nbytes
        return (self._name, datatype, array.shape), array, array.nbytes


class InputSpec(NamedTuple):
    """An input without its bytes; `dtype` is None for BF16."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def input_spec(spec: Spec) -> InputSpec:
    """An `InputSpec` of a layout's tensor; BF16 is read as its bits."""
    name, datatype, shape = spec
    return InputSpec(name, datatype, shape, BY_DATATYPE.get(datatype, BY_DATATYPE["UINT16"]))


class InputTensor(Tensor):
    """A tensor whose bytes lie in the request arena; its array is made when it is first asked for."""

    __slots__ = ("_memory", "_offset", "_size", "_spec")

    def __init__(self, spec: InputSpec, memory: memoryview, offset: int, size: int) -> None:
        self._name = spec[0]
        self._datatype = spec[1]
        self._array = None
        self._spec = spec
        self._memory = memory
        self._offset = offset
        self._size = size

    def shape(self) -> list[int]:
        """Its dims, as a new list."""
        return list(self._spec.shape)

    def _read(self) -> np.ndarray[Any, Any]:
        spec = self._spec
        if spec.datatype == "BYTES":
            return bytes_codec.unpack(bytes(self._window()), spec.shape)
        return np.ndarray(spec.shape, spec.dtype, self._memory, self._offset)

    def _packed(self) -> tuple[Spec, Any, int]:
        if self._array is not None:
            return super()._packed()
        return self._spec[:3], self._window(), self._size

    def _window(self) -> memoryview:
        return self._memory[self._offset : self._offset + self._size]
