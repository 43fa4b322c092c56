"""An answer as a cache keeps it, and as bytes."""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

from pyserver.core.tensor import byte_size
from pyserver.types import InferResponse, Parameter, Tensor

_LENGTH = struct.Struct("<I")
_TENSOR_BYTES = 64
"""What a tensor takes beside its data and its name, about."""


class CachedTensor(NamedTuple):
    """A `Tensor` that is nobody's memory but its own."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes


class Entry(NamedTuple):
    """The outputs and parameters of one answer."""

    outputs: tuple[CachedTensor, ...]
    parameters: dict[str, Parameter] | None

    @classmethod
    def of(cls, response: InferResponse) -> Entry:
        """A copy of what `response` says."""
        outputs = [CachedTensor(out.name, out.datatype, out.shape, bytes(out.data)) for out in response.outputs]
        return cls(tuple(outputs), response.parameters and dict(response.parameters))

    def response(self, model: str, version: str, request_id: str) -> InferResponse:
        """The answer to a request of its own."""
        outputs = [Tensor(*output) for output in self.outputs]
        return InferResponse(model, version, request_id, outputs, self.parameters and dict(self.parameters))

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, about."""
        return sum(len(out.data) + len(out.name) + _TENSOR_BYTES for out in self.outputs) + _TENSOR_BYTES


def pack(entry: Entry) -> bytes:
    """Length of the header (4 bytes), the header (JSON), and the outputs' data one after another."""
    head = {
        "outputs": [[out.name, out.datatype, list(out.shape), len(out.data)] for out in entry.outputs],
        "parameters": entry.parameters,
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *(out.data for out in entry.outputs)])


def unpack(packed: bytes) -> Entry | None:
    """The inverse of `pack`; None for what is no entry."""
    try:
        (length,) = _LENGTH.unpack_from(packed)
        at = _LENGTH.size + length
        head = json.loads(packed[_LENGTH.size : at])
        outputs = []
        for name, datatype, shape, size in head["outputs"]:
            outputs.append(_tensor(name, datatype, shape, packed[at : at + size]))
            at += size
        parameters = head["parameters"]
        if at != len(packed) or not (parameters is None or isinstance(parameters, dict)):
            return None
        return Entry(tuple(outputs), parameters)
    except (struct.error, ValueError, KeyError, TypeError, RecursionError):
        return None


def _tensor(name: Any, datatype: Any, shape: Any, data: bytes) -> CachedTensor:
    """ValueError for what can't be one."""
    dims = tuple(shape)
    if not isinstance(name, str) or not all(isinstance(size, int) and size >= 0 for size in dims):
        raise ValueError("a tensor without name or shape")
    if datatype != "BYTES" and byte_size(datatype, dims) != len(data):
        raise ValueError("a tensor whose bytes are not its shape's")
    return CachedTensor(name, datatype, dims, data)
