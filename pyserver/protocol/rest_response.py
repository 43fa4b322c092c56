"""`InferResponse` -> the body of a REST answer: JSON, or a JSON header and the raw tensors behind it."""

from __future__ import annotations

from typing import Any

import orjson

from pyserver.protocol import rest_json
from pyserver.types import Buffer, InferRequest, InferResponse, Tensor

_MEMORY_ENTRIES = 512
_MEMORY_HEADER_SIZE = 1024
_memory: dict[tuple[object, ...], bytes] = {}
_leads: dict[tuple[object, ...], list[bytes]] = {}


def encode(response: InferResponse, request: InferRequest) -> tuple[int | None, list[Buffer]]:
    """The length of the JSON header, None where all is JSON, and the buffers of the body.

    Of a header, the first buffer is all; each of the others is the data of a binary output, as it stands in the
    response. Where all is JSON, the buffers together are it: long ones aren't copied into one. An output is binary
    where the request lists it so; one not listed follows `binary_data_output`. The header of plain binary answers is
    kept by names, datatypes, shapes and sizes. ServerError (400) for BYTES that JSON can't hold.
    """
    listed = request.outputs
    default = request.binary_output
    buffers: list[Buffer] = [b""]
    key: list[object] = [response.model_name, response.model_version]
    plain = not response.parameters
    size = 0
    for tensor in response.outputs:
        data = tensor.data
        if not (_listed_binary(listed, tensor.name, default) if listed else default) or tensor.parameters:
            plain = False
            break
        buffers.append(data)
        size += len(data)
        key += (tensor.name, tensor.datatype, tensor.shape, len(data))
    if not plain:
        pieces = _encode_json(response, request)
        return _encode_mixed(response, request) if pieces is None else (None, pieces)
    text = _identified(_memory.get(tuple(key)) or _remembered(tuple(key), response), response.id)
    buffers[0] = text
    return (len(text) if size else None), buffers


def _listed_binary(listed: list[Any], name: str, default: bool) -> bool:
    for output in listed:
        if output.name == name:
            return bool(output.binary)
    return default


def _remembered(key: tuple[object, ...], response: InferResponse) -> bytes:
    document = {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "outputs": [_binary(tensor) for tensor in response.outputs],
    }
    text = orjson.dumps(document)
    if len(text) <= _MEMORY_HEADER_SIZE:
        if len(_memory) >= _MEMORY_ENTRIES:
            _memory.clear()
        _memory[key] = text
    return text


def _identified(text: bytes, id: str) -> bytes:
    return b'{"id":%b,%b' % (orjson.dumps(id), text[1:]) if id else text


def _encode_json(response: InferResponse, request: InferRequest) -> list[Buffer] | None:
    """An ordinary answer whose outputs are all JSON, without parameters; else None. What leads to each is kept."""
    if response.parameters or request.extension is not None:
        return None
    key: list[object] = [response.model_name, response.model_version]
    listed, default = request.outputs, request.binary_output
    for tensor in response.outputs:
        if (_listed_binary(listed, tensor.name, default) if listed else default) or tensor.parameters:
            return None
        key += (tensor.name, tensor.datatype, tensor.shape)
    leads = _leads.get(tuple(key)) or _led(tuple(key), response)
    pieces: list[Buffer] = []
    for lead, tensor in zip(leads, response.outputs, strict=False):
        pieces += (lead, rest_json.dumps(tensor))
    pieces.append(leads[-1])
    pieces[0] = _identified(leads[0], response.id)
    return pieces


def _led(key: tuple[object, ...], response: InferResponse) -> list[bytes]:
    """What stands before the elements of each output, and behind the last."""
    document = {"model_name": response.model_name, "model_version": response.model_version, "outputs": []}
    before = orjson.dumps(document)[:-2]
    leads = []
    for tensor in response.outputs:
        described = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        leads.append(b'%b%b,"data":' % (before, orjson.dumps(described)[:-1]))
        before = b"},"
    leads.append(b"}]}")
    if sum(map(len, leads)) <= _MEMORY_HEADER_SIZE:
        if len(_leads) >= _MEMORY_ENTRIES:
            _leads.clear()
        _leads[key] = leads
    return leads


def _encode_mixed(response: InferResponse, request: InferRequest) -> tuple[int | None, list[Buffer]]:
    """Whatever has parameters, or an output as JSON or in shared memory, of which the answer has no bytes."""
    document: dict[str, Any] = {}
    if response.id:
        document["id"] = response.id
    document["model_name"] = response.model_name
    document["model_version"] = response.model_version
    if response.parameters:
        document["parameters"] = response.parameters
    shared = request.extension.outputs if request.extension is not None else {}
    outputs = document["outputs"] = []
    raw: list[Buffer] = []
    for tensor in response.outputs:
        if tensor.name in shared:
            outputs.append(_described(tensor))
        elif _listed_binary(request.outputs or [], tensor.name, request.binary_output):
            outputs.append(_binary(tensor))
            raw.append(tensor.data)
        else:
            outputs.append(_as_json(tensor))
    text = orjson.dumps(document)
    return (len(text) if any(map(len, raw)) else None), [text, *raw]


def _binary(tensor: Tensor) -> dict[str, Any]:
    parameters = {**(tensor.parameters or {}), "binary_data_size": len(tensor.data)}
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "parameters": parameters}


def _as_json(tensor: Tensor) -> dict[str, Any]:
    return {**_described(tensor), "data": orjson.Fragment(rest_json.dumps(tensor))}


def _described(tensor: Tensor) -> dict[str, Any]:
    output: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
    if tensor.parameters:
        output["parameters"] = tensor.parameters
    return output
