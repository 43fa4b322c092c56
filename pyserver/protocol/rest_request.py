"""A REST inference request: JSON, or a JSON header and the raw tensors behind it -> `InferRequest`.

The header of most requests is one that was sent before: the form it was parsed to is kept (`_memory`), and such a
request costs little more than the slices of its body. Where all is JSON, what stands around the elements is such a
header (`_forms`).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from pyserver.core import tensor
from pyserver.core.form import JsonForm
from pyserver.errors import ServerError, invalid
from pyserver.protocol import rest_json
from pyserver.protocol import rest_values as json_as
from pyserver.protocol.rest_extension import decode_outputs, decode_place, own_parameters
from pyserver.protocol.rest_parameters import NONE, Parameters, decode_parameters
from pyserver.types import Buffer, Extension, InferRequest, Lease, Parameter, Part, RequestedOutput, Tensor

MAX_JSON_SIZE = 64 << 20
"""Bytes of JSON in one request, as the default of Triton's `--http-max-input-size`."""


class _Input(NamedTuple):
    """An input as its JSON says: its elements are in `data`, or (None) in the next `size` bytes of the body, or, with
    no `data`, in shared memory (`place`).
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: dict[str, Parameter] | None
    size: int
    data: Buffer | None
    place: Part | None = None


class _Header(NamedTuple):
    """A request without its model and its binary data, which is `size` bytes. Never changed: requests share it."""

    id: str
    inputs: list[_Input]
    outputs: list[RequestedOutput] | None
    parameters: Parameters
    size: int
    extension: Extension | None = None


_MEMORY_ENTRIES = 512
_MEMORY_HEADER_SIZE = 1024
_memory: dict[bytes, _Header] = {}
_forms: dict[bytes, tuple[_Header, list[int]]] = {}  # with the number of elements of each input
_latest: dict[str, tuple[JsonForm, _Header, int]] = {}  # of each model, with the depth that was allowed
# Ids differ where all else is the same, and clients put them first: they are kept out of the memory's keys.
_LEADING_ID = re.compile(rb'\{\s*"id"\s*:\s*"([ !#-\[\]-~]*)"\s*,\s*')


def parse_header_length(text: str, body_size: int) -> int:
    """The value of an Inference-Header-Content-Length header. ServerError (400) unless it is from 0 to `body_size`."""
    if text.isascii() and text.isdigit() and len(text) < 20:
        length = int(text)
        if length <= body_size:
            return length
    try:
        int(text)
    except ValueError:
        raise invalid(f"Unable to parse Inference-Header-Content-Length, got: {json_as.shortened(text)}") from None
    raise invalid(f"inference header size should be in range (0, {body_size}), got: {json_as.shortened(text)}")


def decode(
    body: Buffer,
    header_length: int | None,
    model_name: str,
    model_version: str = "",
    lease: Lease | None = None,
    max_json_size: int = MAX_JSON_SIZE,
    max_json_depth: int = rest_json.MAX_DEPTH,
) -> InferRequest:
    """The request in `body`, whose first `header_length` bytes are JSON (None: all of it).

    A length of 0, or an empty body, makes it the raw content of the model's only input. Binary tensors are views of
    `body`: nothing is copied. ServerError (400) for a body that isn't such a request; whether its tensors are those of
    the model, and as long as their shapes say, is for the model to judge.
    """
    total = len(body)
    if header_length == 0 or not total:
        return _raw_request(body, model_name, model_version, lease)
    all_json = header_length is None
    if header_length is None:
        header_length = total
    if header_length > max_json_size:
        raise _too_much_json(header_length, max_json_size)
    view = body if type(body) is memoryview else memoryview(body)
    buffers = None
    if all_json:
        header, buffers = _filled(body, model_name, max_json_size, max_json_depth)
    elif header_length <= _MEMORY_HEADER_SIZE:
        text = bytes(view[:header_length])
        header = _memory.get(text) or _recalled(text, model_name, max_json_size, max_json_depth)
    else:
        header = _parse(view[:header_length], model_name, max_json_size, max_json_depth)
    id, described, outputs, parameters, size, extension = header
    if header_length + size != total:
        raise _wrong_size(header, header_length, total, model_name)
    inputs = []
    at = header_length
    if buffers is not None:
        for (name, datatype, shape, own, _, _, _), buffer in zip(described, buffers, strict=True):
            inputs.append(Tensor(name, datatype, shape, buffer, own))
    else:
        for name, datatype, shape, own, size, data, _ in described:
            if data is None:
                end = at + size
                data = view[at:end]
                at = end
            inputs.append(Tensor(name, datatype, shape, data, own))
    custom, binary_output, priority, timeout_us, correlation_id, flags = parameters
    return InferRequest(
        model_name, model_version, id, inputs, outputs, custom.copy(), binary_output, False, priority, timeout_us,
        correlation_id, flags, lease, False, extension,
    )  # fmt: skip


def _raw_request(body: Buffer, model_name: str, model_version: str, lease: Lease | None) -> InferRequest:
    only = Tensor("", "", (), body)
    return InferRequest(model_name, model_version, inputs=[only], binary_output=True, raw_input=True, lease=lease)


def _too_much_json(size: int, most: int) -> ServerError:
    return invalid(
        f"request JSON of {size} bytes exceeds the maximum allowed {most} bytes. "
        "Use --http-max-input-size to increase the limit."
    )


def _recalled(text: bytes, model_name: str, max_json_size: int, max_json_depth: int) -> _Header:
    """The header in `text`, which was not there before, or not with this id in front of it."""
    leading = _LEADING_ID.match(text)
    key = b"{" + text[leading.end() :] if leading else text
    known = _memory.get(key) if leading else None
    if leading and known:
        return known._replace(id=leading[1].decode())
    header = _parse(text, model_name, max_json_size, max_json_depth)
    if (leading or not header.id) and all(not item.data for item in header.inputs):
        if len(_memory) >= _MEMORY_ENTRIES:
            _memory.clear()
        _memory[key] = header._replace(id="")
    return header


def _filled(
    text: Buffer, model_name: str, max_json_size: int, max_json_depth: int
) -> tuple[_Header, list[bytes] | None]:
    """The header in `text`, which is all of the request, and the data of its inputs where they aren't in the header."""
    latest = _latest.get(model_name)
    if latest is not None and latest[2] == max_json_depth:
        form, header, _ = latest
        buffers = form.fill(text, max_json_size)
        if buffers is not None:
            return header, buffers
    document = rest_json.loads(text, max_json_size, max_json_depth)
    try:
        arrays = [item["data"] for item in document["inputs"]]
        outside = _outside(text, arrays)
    except (AttributeError, KeyError, TypeError):
        return _header(document, model_name), None
    id = document.get("id", "")
    if id and outside:
        leading = _LEADING_ID.match(outside)
        outside = b"{" + outside[leading.end() :] if leading else b""
    known = _forms.get(outside)
    if known is not None and [array.count for array in arrays] == known[1]:
        header = known[0] if known[0].id == id else known[0]._replace(id=id)
        if not id:
            _remember_latest(text, header, arrays, model_name, max_json_depth)
        return header, [array.buffer for array in arrays]
    header = _header(document, model_name)
    if outside:
        _remember_form(outside, header, arrays)
    return header, None


def _outside(text: Buffer, arrays: list[Any]) -> bytes:
    """What stands around the arrays: no two documents share it. Empty if it is too long to be remembered.

    AttributeError if one of them is none.
    """
    pieces = []
    at = 0
    for array in arrays:
        pieces.append(text[at : array.start])
        at = array.end
    pieces.append(text[at:])
    outside = b"".join(pieces)
    return outside if len(outside) <= _MEMORY_HEADER_SIZE else b""


def _remember_form(outside: bytes, header: _Header, arrays: list[Any]) -> None:
    if len(_forms) >= _MEMORY_ENTRIES:
        _forms.clear()
    form = header._replace(inputs=[item._replace(data=b"") for item in header.inputs])
    _forms[outside] = form, [array.count for array in arrays]


def _remember_latest(text: Buffer, header: _Header, arrays: list[Any], model_name: str, depth: int) -> None:
    """Requests to a model mostly are of one form: the next is compared with this one, before it is read."""
    if any(array.nested for array in arrays):
        return
    if len(_latest) >= _MEMORY_ENTRIES:
        _latest.clear()
    _latest[model_name] = JsonForm(text, arrays), header, depth


def _parse(text: Buffer, model_name: str, max_json_size: int, max_json_depth: int) -> _Header:
    return _header(rest_json.loads(text, max_json_size, max_json_depth), model_name)


def _header(document: Any, model_name: str) -> _Header:
    if not isinstance(document, dict):
        raise json_as.unparsable(
            "inputs", "attempt to access non-existing object member 'inputs'", f": the body is {json_as.kind(document)}"
        )
    id = json_as.string(document.get("id", ""), "id", "")
    parameters = decode_parameters(document["parameters"]) if "parameters" in document else NONE
    listed = json_as.array(json_as.member(document, "inputs", ""), "inputs", "")
    inputs = [_parse_input(item, model_name) for item in listed]
    places = {position: item.place for position, item in enumerate(inputs) if item.place is not None}
    outputs, extension = decode_outputs(document.get("outputs", []), places)
    size = sum([item.size for item in inputs])
    return _Header(id, inputs, outputs, parameters, size, extension)


def _parse_input(item: object, model_name: str) -> _Input:
    fields = json_as.mapping(item, "inputs", "")
    name = json_as.string(json_as.member(fields, "name", " of an input"), "name", " of an input")
    where = f" of input '{json_as.shortened(name)}'"
    datatype = json_as.string(json_as.member(fields, "datatype", where), "datatype", where)
    if datatype not in tensor.DATATYPES:
        raise invalid(f"invalid datatype for input {json_as.shortened(name)}: got '{json_as.shortened(datatype)}'")
    dims = json_as.array(json_as.member(fields, "shape", where), "shape", where)
    shape = tuple([json_as.unsigned(dim, "shape", where) for dim in dims])
    parameters = json_as.mapping(fields.get("parameters", {}), "parameters", where)
    _check_sources(fields, parameters, where, model_name)
    own = own_parameters(parameters)
    if "shared_memory_region" in parameters:
        return _Input(name, datatype, shape, own, 0, b"", decode_place(parameters, where))
    if "data" in fields:
        return _Input(name, datatype, shape, own, 0, rest_json.elements(fields["data"], shape, where))
    size = json_as.unsigned(parameters["binary_data_size"], "binary_data_size", where)
    return _Input(name, datatype, shape, own, size, None)


def _check_sources(fields: dict[str, Any], parameters: dict[str, Any], where: str, model_name: str) -> None:
    """An input's elements come from exactly one place."""
    given = [f"'{key}'" for key in ("data",) if key in fields]
    given += [f"'{key}'" for key in ("binary_data_size", "shared_memory_region") if key in parameters]
    if len(given) != 1:
        found = f"But set {' '.join(given)}" if given else "But no field is set"
        raise invalid(
            "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
            f"'shared_memory_region' in 'parameters'. {found}{where} for model '{model_name}'"
        )


def _wrong_size(header: _Header, header_length: int, total: int, model_name: str) -> ServerError:
    """The body doesn't end where its last binary tensor does."""
    found = (
        f"the body has {total - header_length} bytes after its JSON of {header_length}, its inputs say {header.size}"
    )
    left = total - header_length
    for item in header.inputs:
        if item.size > left:
            return invalid(
                f"unexpected size for input '{json_as.shortened(item.name)}', "
                f"expecting {item.size - left} additional bytes for model '{model_name}': {found}"
            )
        left -= item.size
    return invalid(f"unexpected additional input data for model '{model_name}': {found}")
