"""Content type `np`: arrays, as views of the memory that tensors lie in."""

from __future__ import annotations

from typing import Any, List, Tuple

import numpy as np

from mlserver.codecs.base import InputCodec, register_input_codec, register_request_codec
from mlserver.codecs.errors import CodecError
from mlserver.codecs.lists import as_list, flattened
from mlserver.codecs.utils import SingleInputRequestCodec
from mlserver.types import Parameters, RequestInput, ResponseOutput, TensorData
from pyserver.stub.mlserver.built import ArraySource, built, lazy_data, lazy_kind, source_of

_LAZY = lazy_kind(TensorData)
_DTYPES = {
    "BOOL": "bool", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8", "INT8": "i1", "INT16": "i2",
    "INT32": "i4", "INT64": "i8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip
_DATATYPES = {np.dtype(text): name for name, text in _DTYPES.items()}


def datatype_of(dtype: Any, name: str = "") -> str:
    """The datatype of a dtype; BYTES for objects and strings. CodecError for what the protocol doesn't have."""
    found = _DATATYPES.get(dtype)
    if found is None:
        if dtype.kind in "OSUT":
            return "BYTES"
        raise CodecError(f"'{name}' has dtype {dtype}, which no datatype of the protocol holds")
    return found


def array_of(tensor: Any) -> np.ndarray[Any, Any]:
    """The array of an input or output, in its shape. CodecError where the data aren't what datatype and shape say."""
    source = source_of(tensor.data)
    try:
        if source is not None and (source.text is False or tensor.datatype != "BYTES"):
            return source.array().reshape(tensor.shape)  # type: ignore[no-any-return]
        return _listed(tensor).reshape(tensor.shape)
    except CodecError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise CodecError(
            f"'{tensor.name}': data don't make {tensor.datatype} of shape {tensor.shape}: {error}"
        ) from None


def _listed(tensor: Any) -> np.ndarray[Any, Any]:
    elements = flattened(list(as_list(tensor.data)))
    if tensor.datatype == "BYTES":
        if any(isinstance(item, bytes) or item is None for item in elements):
            array = np.empty(len(elements), object)
            array[:] = elements
            return array
        return np.array(elements, str)
    dtype = _DTYPES.get(tensor.datatype)
    if dtype is None:
        raise CodecError(f"'{tensor.name}': datatype {tensor.datatype} has no dtype")
    return np.array(elements, dtype)


def described(payload: np.ndarray[Any, Any], name: str) -> Tuple[str, List[int]]:
    """Datatype and shape of an array: `[N]` is `[N, 1]`, a scalar is `[1]`."""
    shape = list(payload.shape)
    return datatype_of(payload.dtype, name), [*shape, 1] if len(shape) < 2 and shape else shape or [1]


@register_input_codec
class NumpyCodec(InputCodec):
    """Arrays."""

    ContentType = "np"
    TypeHint = np.ndarray

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Arrays."""
        return isinstance(payload, np.ndarray)

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        """An output over the array: what is changed in it later is changed in the output."""
        return cls._made(ResponseOutput, name, payload)  # type: ignore[no-any-return]

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        """An input over the array."""
        return cls._made(RequestInput, name, payload)  # type: ignore[no-any-return]

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        """The array."""
        return array_of(response_output)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        """The array: a view of shared memory, valid while the request runs, unless the data came as a list."""
        return array_of(request_input)

    @staticmethod
    def _made(kind: Any, name: str, payload: Any) -> Any:
        array = np.asarray(payload)
        datatype, shape = described(array, name)
        parameters = built(Parameters, {"content_type": "np", "headers": None}, {"content_type"}, {})
        data = lazy_data(_LAZY, ArraySource(array))
        return built(kind, {"name": name, "shape": shape, "datatype": datatype, "parameters": parameters, "data": data})


@register_request_codec
class NumpyRequestCodec(SingleInputRequestCodec):
    """Requests of one array."""

    ContentType = "np"
    InputCodec = NumpyCodec
