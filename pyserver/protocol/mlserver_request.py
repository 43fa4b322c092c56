"""A REST inference request to an MLServer model -> `OpenRequest`: tensors, and an envelope with all that is none.

Whatever is a tensor (as many elements as its shape says, each of its datatype) becomes one in the pass that reads the
JSON. Everything else reaches the model as JSON: nulls, objects, a bare string, elements of another type.
"""

from __future__ import annotations

import math
import os
from typing import Any

import orjson

from pyserver.core import json as core_json
from pyserver.errors import invalid
from pyserver.ipc import envelope
from pyserver.model.open_signature import Envelope, RawJson
from pyserver.protocol import mlserver_problems
from pyserver.protocol import mlserver_schema as schema
from pyserver.types import Buffer, Lease, OpenRequest, RequestedOutput, Tensor

_BODY: list[str | int] = ["body"]
_DRAWN = 64
_random: list[str] = []
"""Random digits of ids to come: one system call draws those of many."""
_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""The digit that says a UUID's variant, by a random one."""
_OURS = ("binary_data_size", "binary_data", "binary_data_output")
"""Parameters of the binary extension, which are for the server."""


def decode(
    body: Buffer,
    header_length: int | None,
    model_name: str,
    model_version: str,
    lease: Lease | None,
    max_json_size: int,
    headers: bytes,
    server_name: str,
    stream: bool = False,
) -> OpenRequest:
    """The request in `body`, whose first `header_length` bytes are JSON (None: all of it).

    `headers` are JSON; `stream` says that any number of responses is wanted. Binary tensors are views of `body`.
    ServerError (422) where it is no such request.
    """
    length = len(body) if header_length is None else header_length
    if length > max_json_size:
        raise invalid(
            f"request JSON of {length} bytes exceeds the maximum allowed {max_json_size} bytes. "
            "Use --http-max-input-size to increase the limit."
        )
    view = body if type(body) is memoryview else memoryview(body)
    text = view[:length]
    try:
        document = schema.mapping(core_json.loads(text, max_json_size), _BODY)
        reader = _Reader(document, view, length)
    except (core_json.JsonError, TypeError) as error:
        reader = _read_loosely(_loosely(text, error), view, length)
    except schema.SchemaError as error:
        error.details = mlserver_problems.details(_loosely(text, error)) or error.details
        raise
    if reader.at != len(body):
        raise invalid(
            f"unexpected additional input data for model '{model_name}': the body has {len(body) - length} bytes after"
            f" its JSON of {length}, its inputs say {reader.at - length}"
        )
    id = document_id(reader.id)
    if stream:
        reader.rest["stream"] = True
    packed = envelope.pack(headers, orjson.dumps(reader.rest) if reader.rest else b"")
    reader.inputs.append(Envelope(envelope.NAME, envelope.DATATYPE, envelope.SHAPE, packed))
    return OpenRequest(
        model_name, model_version, id, reader.inputs, reader.outputs, binary_output=reader.binary, lease=lease,
        server_name=server_name,
    )  # fmt: skip


def document_id(given: str | None) -> str:
    """The request's id: a new one (UUID, version 4) where the client has none."""
    if given is not None:
        return given
    if not _random:
        digits = os.urandom(16 * _DRAWN).hex()
        _random.extend(digits[at : at + 32] for at in range(0, len(digits), 32))
    text = _random.pop()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:]}"


def _loosely(text: memoryview, error: Exception) -> Any:
    """The document with its data as they are; what isn't JSON at all is a 422."""
    if isinstance(error, core_json.JsonError) and error.kind in ("depth", "limit"):
        raise invalid(f"failed to parse the request JSON: {error}") from None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as failure:
        raise schema.bad_json(failure.pos, failure.msg.partition(": line")[0]) from None


def _read_loosely(document: Any, body: memoryview, at: int) -> _Reader:
    """As `_Reader`, which is told all that is wrong."""
    try:
        return _Reader(schema.mapping(document, _BODY), body, at)
    except schema.SchemaError as error:
        error.details = mlserver_problems.details(document) or error.details
        raise


class _Reader:
    """What a document says: `rest` for the envelope; `at` is where its binary tensors end in the body.

    TypeError where the fast reader's typed data stand in a place that is no tensor's: to be read loosely.
    """

    def __init__(self, document: dict[str, Any], body: memoryview, at: int) -> None:
        self._body = body
        self.at = at
        self.rest: dict[str, Any] = {"text": True}
        self.binary = False
        self.inputs: list[Tensor] = []
        self.outputs: list[RequestedOutput] | None = None
        given = document.get("id")
        self.id = None if given is None else schema.text(given, ["body", "id"])
        if document.get("parameters") is not None:
            self._take_parameters(schema.mapping(document["parameters"], ["body", "parameters"]))
        said = []
        for number, item in enumerate(schema.listed(schema.member(document, "inputs", _BODY), ["body", "inputs"])):
            said.append(self._take_input(item, ["body", "inputs", number]))
        if any(said):
            self.rest["inputs"] = said
        if document.get("outputs") is not None:
            self._take_outputs(schema.listed(document["outputs"], ["body", "outputs"]))

    def _take_parameters(self, given: dict[str, Any]) -> None:
        self.binary = given.get("binary_data_output") is True
        own = {key: value for key, value in given.items() if key not in _OURS}
        if own:
            self.rest["parameters"] = _plain(own)

    def _take_input(self, item: Any, place: list[str | int]) -> dict[str, Any]:
        fields = schema.mapping(item, place)
        name = schema.text(schema.member(fields, "name", place), [*place, "name"])
        shape = schema.shape(schema.member(fields, "shape", place), [*place, "shape"])
        datatype = schema.datatype(schema.member(fields, "datatype", place), [*place, "datatype"])
        own: dict[str, Any] = {}
        size = None
        if fields.get("parameters") is not None:
            given = schema.mapping(fields["parameters"], [*place, "parameters"])
            size = given.get("binary_data_size")
            parameters = {key: value for key, value in given.items() if key not in _OURS}
            if parameters:
                own["parameters"] = _plain(parameters)
        if size is not None and "data" not in fields:
            self._take_binary(name, datatype, shape, size)
            return own
        data = schema.member(fields, "data", place)
        if isinstance(data, core_json.JsonData) and data.datatype == datatype and _holds(shape, data.count):
            if data.nested:
                own["nested"] = True
            self.inputs.append(Tensor(name, datatype, shape, data.buffer))
            return own
        own.update(json=True, datatype=datatype, shape=shape)
        self.inputs.append(RawJson(name, envelope.DATATYPE, envelope.SHAPE, orjson.dumps(data)))
        return own

    def _take_binary(self, name: str, datatype: str, shape: tuple[int, ...], size: Any) -> None:
        end = self.at + size if type(size) is int and size >= 0 else -1
        if not self.at <= end <= len(self._body):
            raise invalid(f"input '{name}' has binary_data_size {size!r}, {len(self._body) - self.at} bytes are left")
        self.inputs.append(Tensor(name, datatype, shape, self._body[self.at : end]))
        self.at = end
        self.rest.pop("text", None)

    def _take_outputs(self, given: list[Any]) -> None:
        outputs = []
        said = []
        for number, item in enumerate(given):
            place: list[str | int] = ["body", "outputs", number]
            fields = schema.mapping(item, place)
            name = schema.text(schema.member(fields, "name", place), [*place, "name"])
            parameters = fields.get("parameters") or {}
            schema.mapping(parameters, [*place, "parameters"])
            outputs.append(RequestedOutput(name, parameters.get("binary_data") is True))
            own = {key: value for key, value in parameters.items() if key not in _OURS}
            said.append({"name": name, "parameters": _plain(own)} if own else {"name": name})
        self.rest["outputs"] = said
        self.outputs = outputs or None


def _holds(shape: tuple[int, ...], count: int) -> bool:
    return math.prod(shape) == count and all(size >= 0 for size in shape)


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters themselves. TypeError where an array among them was read as a tensor's."""
    orjson.dumps(parameters)
    return parameters
