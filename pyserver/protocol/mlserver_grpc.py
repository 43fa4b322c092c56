"""The answer of an MLServer model -> a ModelInferResponse: raw where the request was raw, else in typed contents."""

from __future__ import annotations

from typing import Any

import orjson

from pyserver.core import bytes as byte_strings
from pyserver.core import tensor as core
from pyserver.core import wire
from pyserver.errors import internal
from pyserver.proto import inference as pb
from pyserver.protocol.mlserver_response import Said, opened
from pyserver.types import InferResponse, Tensor

_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
"""FP16 and BF16 have no typed form: with one of them all outputs are raw."""


def encode(response: InferResponse) -> bytes:
    """A ModelInferResponse. ServerError (INTERNAL) for an output that is no tensor."""
    said = opened(response)
    outputs = [_tensor(tensor, said.of(at)) for at, tensor in enumerate(said.outputs)]
    name = str(said.rest.get("model_name", response.model_name))
    version = str(said.rest.get("model_version", ""))
    parameters = _scalars(said.rest.get("parameters"))
    if said.rest.get("typed") and all(tensor.datatype in _CONTENTS for tensor in outputs):
        return _typed(name, version, response.id, parameters, outputs, said)
    described = [
        (tensor.name, tensor.datatype, tensor.shape, _scalars(said.of(at).get("parameters")))
        for at, tensor in enumerate(outputs)
    ]
    message: bytes = wire.encode_response(
        name, version, response.id, parameters, described, [tensor.data for tensor in outputs]
    )
    return message


def _typed(
    name: str, version: str, id: str, parameters: dict[str, Any] | None, outputs: list[Tensor], said: Said
) -> bytes:
    message = pb.ModelInferResponse(model_name=name, model_version=version, id=id)
    _set(message.parameters, parameters)
    for at, tensor in enumerate(outputs):
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        _set(output.parameters, _scalars(said.of(at).get("parameters")))
        elements = getattr(output.contents, _CONTENTS[tensor.datatype])
        count = core.element_count(tensor.shape)
        if tensor.datatype == "BYTES":
            elements.extend(byte_strings.unpack(tensor.data, count))
        else:
            elements.extend(core.as_array(tensor.datatype, (count,), tensor.data).tolist())
    return message.SerializeToString()


def _set(target: Any, parameters: dict[str, Any] | None) -> None:
    for key, value in (parameters or {}).items():
        kind = "bool_param" if isinstance(value, bool) else "int64_param" if isinstance(value, int) else "string_param"
        setattr(target[key], kind, value)


def _scalars(parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a parameter of MLServer's gRPC can be: booleans, integers of 64 bits, text. The rest is left out."""
    if not parameters:
        return None
    return {
        key: value
        for key, value in parameters.items()
        if isinstance(value, bool | str) or (isinstance(value, int) and -(1 << 63) <= value < 1 << 63)
    } or None


def _tensor(tensor: Tensor, own: dict[str, Any]) -> Tensor:
    """A tensor of what came as JSON, where its elements, however nested, are those of one."""
    if not own.get("json"):
        return tensor
    datatype, shape = own["datatype"], tuple(own["shape"])
    try:
        elements = _flat(orjson.loads(bytes(tensor.data)))
        if datatype == "BYTES":
            data = byte_strings.pack([str(item).encode() for item in elements if item is not None])
            found = sum(item is not None for item in elements)
        else:
            import numpy as np

            data = np.array(elements, core.numpy_dtype(datatype)).tobytes()
            found = len(elements)
        if found != core.element_count(shape):
            raise ValueError(f"{found} elements, shape {list(shape)} has {core.element_count(shape)}")
    except (ValueError, TypeError, OverflowError) as error:
        raise internal(f"output '{tensor.name}' can't be sent by gRPC as {datatype}: {error}") from None
    return Tensor(tensor.name, datatype, shape, data)


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    return [element for item in value for element in _flat(item)]
