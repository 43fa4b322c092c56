"""The answer of an MLServer model -> the body of a REST answer, as MLServer writes it."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from pyserver.core import json as core_json
from pyserver.core import tensor as core
from pyserver.errors import internal, invalid
from pyserver.ipc import envelope
from pyserver.protocol import mlserver_headers
from pyserver.types import Buffer, InferResponse, OpenRequest, Tensor

_REMEMBERED = 512
_LONGEST = 4096
_known: dict[bytes, dict[str, Any]] = {}
_NOTHING: dict[str, Any] = {}


class Said(NamedTuple):
    """An answer apart: its tensors, and what its envelope says (to be read alone: others share it)."""

    outputs: list[Tensor]
    rest: dict[str, Any]

    def of(self, at: int) -> dict[str, Any]:
        """What is said of an output."""
        own = self.rest.get("outputs")
        return own[at] if own else _NOTHING


def is_enveloped(response: InferResponse) -> bool:
    """Whether this is the answer of an MLServer model."""
    outputs = response.outputs
    return bool(outputs) and outputs[-1].name == envelope.NAME


def opened(response: InferResponse) -> Said:
    """Tensors and envelope of an answer."""
    if not is_enveloped(response):
        return Said(response.outputs, _NOTHING)
    try:
        text = envelope.split(response.outputs[-1].data)[1]
        rest = _known.get(text)
        if rest is None:
            rest = orjson.loads(text)
            if len(text) <= _LONGEST:
                if len(_known) >= _REMEMBERED:
                    _known.clear()
                _known[text] = rest
    except ValueError as error:
        raise internal(f"model '{response.model_name}' sent a broken envelope: {error}") from None
    return Said(response.outputs[:-1], rest)


Headers = tuple[tuple[str, str], ...]


def encode(response: InferResponse, request: OpenRequest) -> tuple[int | None, list[Buffer], Headers]:
    """The length of the JSON part, None where all is JSON, the buffers of the body, and the headers of the answer.

    An output is binary where the request asks for that; everything else is JSON, NaN and infinities as null.
    ServerError (400) for BYTES that JSON can't hold.
    """
    said = opened(response)
    raw: list[Buffer] = []
    text = orjson.dumps(_document(said, response, request, raw))
    return (len(text) if raw else None), [text, *raw], _headers(said, request)


def encode_event(response: InferResponse, request: OpenRequest) -> bytes:
    """The JSON of one response of a stream: all of it, the headers among the parameters."""
    said = opened(response)
    document = _document(said, response, request, None)
    document["parameters"] = {**document["parameters"], "headers": dict(_headers(said, request))}
    return orjson.dumps(document)


def _headers(said: Said, request: OpenRequest) -> Headers:
    own = said.rest.get("headers")
    return mlserver_headers.of_response(own, request.server_name, request.model_name, request.id)


def _document(said: Said, response: InferResponse, request: OpenRequest, raw: list[Buffer] | None) -> dict[str, Any]:
    """The JSON of an answer; binary outputs, where there may be any, go to `raw`."""
    rest = said.rest
    document: dict[str, Any] = {"model_name": rest.get("model_name", response.model_name)}
    if "model_version" in rest:
        document["model_version"] = rest["model_version"]
    document["id"] = request.id
    document["parameters"] = rest.get("parameters", _NOTHING)
    binary = {output.name for output in request.outputs or () if output.binary}
    document["outputs"] = [
        _output(tensor, said.of(at), raw if request.binary_output or tensor.name in binary else None)
        for at, tensor in enumerate(said.outputs)
    ]
    return document


def _output(tensor: Tensor, own: dict[str, Any], raw: list[Buffer] | None) -> dict[str, Any]:
    is_json = own.get("json", False)
    made: dict[str, Any] = {
        "name": tensor.name,
        "shape": own["shape"] if is_json else tensor.shape,
        "datatype": own["datatype"] if is_json else tensor.datatype,
    }
    parameters = own.get("parameters")
    if raw is not None and not is_json:
        made["parameters"] = {**(parameters or {}), "binary_data_size": len(tensor.data)}
        raw.append(tensor.data)
        return made
    if parameters:
        made["parameters"] = parameters
    made["data"] = orjson.Fragment(bytes(tensor.data) if is_json else data_of(tensor))
    return made


def data_of(tensor: Tensor) -> bytes:
    """The elements as a flat JSON array. ServerError (400) for BYTES that are not UTF-8."""
    try:
        return core_json.dumps_array(tensor.datatype, tensor.data, core.element_count(tensor.shape), True)
    except ValueError as error:
        fault = invalid if tensor.datatype == "BYTES" else internal
        raise fault(f"output '{tensor.name}' can't be sent as JSON: {error}") from None
