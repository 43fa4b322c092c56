"""Names, datatypes and shapes on their way to and from a stub: each combination is packed, or parsed, once."""

from __future__ import annotations

import json
from typing import TypeAlias

import orjson

from pyserver.core.tensor import itemsize
from pyserver.ipc.messages import Layout, pack_layout, unpack_layout
from pyserver.types import InferRequest

MOST = 1024
"""Layouts remembered in each direction: more are seen only where every request has another shape."""
LONGEST = 4096
"""Longer ones (bytes) are not remembered."""

Output: TypeAlias = "tuple[str, str, tuple[int, ...], int]"
"""One output of a response: name, datatype, shape, and how many bytes that makes; BYTES_SIZE where it doesn't say."""
BYTES_SIZE = -1


class RequestLayouts:
    """From the inputs and wanted outputs of requests to the bytes that say so."""

    def __init__(self) -> None:
        self._packed: dict[object, bytes] = {}

    def of(self, request: InferRequest) -> bytes:
        """The packed layout of a request."""
        wanted = request.outputs
        inputs = request.inputs
        if len(inputs) == 1 and (wanted is None or len(wanted) == 1):
            tensor = inputs[0]
            key: object = (tensor.name, tensor.datatype, tensor.shape, wanted[0].name if wanted else None)
        else:
            names = tuple([output.name for output in wanted]) if wanted else ()
            key = (tuple([(tensor.name, tensor.datatype, tensor.shape) for tensor in inputs]), names)
        return self._packed.get(key) or self._pack(key, request)

    def _pack(self, key: object, request: InferRequest) -> bytes:
        names = tuple(output.name for output in request.outputs or ())
        layout = Layout(tuple((tensor.name, tensor.datatype, tensor.shape) for tensor in request.inputs), names)
        packed = pack_layout(layout)
        if len(self._packed) >= MOST:
            self._packed.clear()
        if len(packed) <= LONGEST:
            self._packed[key] = packed
        return packed


class ResponseLayouts:
    """From the bytes in responses to the outputs they describe."""

    def __init__(self) -> None:
        self._outputs: dict[bytes, list[Output]] = {}

    def get(self, packed: bytes) -> list[Output]:
        """The outputs of a packed layout; MessageError if it is none."""
        found = self._outputs.get(packed)
        return self._parse(packed) if found is None else found

    def _parse(self, packed: bytes) -> list[Output]:
        outputs = [
            (name, datatype, shape, _nbytes(datatype, shape)) for name, datatype, shape in unpack_layout(packed).tensors
        ]
        if len(self._outputs) >= MOST:
            self._outputs.clear()
        if len(packed) <= LONGEST:
            self._outputs[packed] = outputs
        return outputs


def _nbytes(datatype: str, shape: tuple[int, ...]) -> int:
    if datatype == "BYTES":
        return BYTES_SIZE
    nbytes: int = itemsize(datatype)
    for dimension in shape:
        nbytes *= dimension
    return nbytes


def pack_extras(request: InferRequest) -> bytes:
    """What is rare on a request, as `messages.EXECUTE` says; empty when there is nothing."""
    if request.trace is None and not (
        request.id or request.parameters or request.correlation_id or request.flags or request.timeout_us
    ):
        return b""
    extras: dict[str, object] = {}
    if request.id:
        extras["id"] = request.id
    if request.parameters:
        extras["parameters"] = request.parameters
    if request.correlation_id:
        extras["correlation_id"] = request.correlation_id
    if request.flags:
        extras["flags"] = request.flags
    if request.timeout_us:
        extras["timeout_us"] = request.timeout_us
    if request.trace is not None:
        extras.update(trace=request.trace.carrier, trace_id=request.trace.id)
    try:
        return orjson.dumps(extras)
    except TypeError:  # an integer of more than 64 bits, or half a surrogate pair
        return json.dumps(extras).encode()
