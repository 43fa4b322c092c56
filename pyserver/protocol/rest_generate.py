"""The generate extension: one flat JSON object in, one for each response out. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from pyserver.core import bytes as byte_strings
from pyserver.core.tensor import element_count
from pyserver.errors import ServerError, invalid
from pyserver.protocol import rest_json, rest_values, status
from pyserver.protocol.rest_parameters import decode_parameters
from pyserver.types import Buffer, InferRequest, InferResponse, Tensor

CARDINALITY = (
    "generate expects model to produce exactly 1 response, use generate stream for model that generates various "
    "number of responses"
)
_DTYPES = {
    "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4",
    "UINT64": "u8", "FP16": "f2", "FP32": "f4", "FP64": "f8", "BF16": "f4",
}  # fmt: skip


def _range(dtype: str) -> range:
    bits = 8 * int(dtype[1])
    return range(-(1 << bits - 1), 1 << bits - 1) if dtype[0] == "i" else range(1 << bits)


_RANGES = {datatype: _range(dtype) for datatype, dtype in _DTYPES.items() if "INT" in datatype}
"""What each integer datatype holds."""


def decode(
    body: Buffer,
    specs: Iterable[Mapping[str, Any]],
    name: str,
    version: str,
    limit: int,
    max_depth: int = rest_json.MAX_DEPTH,
) -> InferRequest:
    """The request that `body` makes to a model with inputs `specs` (name, datatype, shape; -1 for any size).

    A key that is an input's name becomes that input, `id` the request's id, and every other one a parameter; an object
    `parameters` is read by the same rules. ServerError (400) for what can't be read so.
    """
    if len(body) > limit:
        raise invalid(
            f"request JSON of {len(body)} bytes exceeds the maximum allowed {limit} bytes. "
            "Use --http-max-input-size to increase the limit."
        )
    document = rest_json.plain(bytes(body), max_depth)
    given = _merged(rest_values.mapping(document, "generate", f" of a request to model '{name}'"))
    wanted = {spec["name"]: spec for spec in specs}
    inputs = [_tensor(wanted[key], value) for key, value in given if key in wanted]
    if len({tensor.name for tensor in inputs}) < len(inputs):
        raise _given_twice(inputs, str(document.get("id") or "<id_unknown>"))
    said = decode_parameters({key: value for key, value in given if key not in wanted})
    id = said.custom.get("id", "")
    return InferRequest(
        name, version, str(id), inputs, None, said.custom, False, False, said.priority, said.timeout_us,
        said.correlation_id, said.flags,
    )  # fmt: skip


def encode(response: InferResponse) -> bytes:
    """The JSON object of a response: outputs (one element is no list), the model, parameters; keys in order."""
    if response.error is not None:
        return status.error_body(response.error.message)
    fields: dict[str, bytes] = {
        "model_name": orjson.dumps(response.model_name),
        "model_version": orjson.dumps(response.model_version),
    }
    if response.id:
        fields["id"] = orjson.dumps(response.id)
    for key, value in (response.parameters or {}).items():
        fields[key] = orjson.dumps(value)
    for tensor in response.outputs:
        text = rest_json.dumps(tensor)
        fields[tensor.name] = text[1:-1] if element_count(tensor.shape) == 1 else text
    return b"{" + b",".join([orjson.dumps(key) + b":" + fields[key] for key in sorted(fields)]) + b"}"


def event(data: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + data + b"\n\n"


def _merged(document: dict[str, Any]) -> list[tuple[str, Any]]:
    """The keys of the object and, in their place, those of its `parameters`."""
    given: list[tuple[str, Any]] = []
    for key, value in document.items():
        if key != "parameters":
            given.append((key, value))
        elif isinstance(value, dict):
            given += value.items()
        else:
            raise invalid(f"Expected JSON object for keyword: 'parameters': got {rest_values.kind(value)}")
    return given


def _given_twice(inputs: list[Tensor], id: str) -> ServerError:
    names = [tensor.name for tensor in inputs]
    twice = next(name for name in names if names.count(name) > 1)
    return invalid(f"Converting keyword: 'parameters': [request id: {id}] input '{twice}' already exists in request")


def _tensor(spec: Mapping[str, Any], value: object) -> Tensor:
    name, datatype = spec["name"], spec["datatype"]
    elements = value if isinstance(value, list) else [value]
    shape = _shape(name, spec["shape"], len(elements))
    return Tensor(name, datatype, shape, _data(name, datatype, elements))


def _shape(name: str, pattern: Iterable[int], count: int) -> tuple[int, ...]:
    """`count` elements in the shape `pattern`: fixed sizes as they are, the innermost -1 takes the rest."""
    shape: list[int] = []
    left, open_at = count, -1
    for size in reversed(list(pattern)):
        if size > 0:
            if left % size:
                raise _unshaped(name, pattern, count)
            left //= size
        elif open_at < 0:
            open_at = len(shape)
        shape.append(size if size > 0 else 1)
    if open_at >= 0:
        shape[open_at] = left
    elif left != 1:
        raise _unshaped(name, pattern, count)
    return tuple(reversed(shape))


def _unshaped(name: str, pattern: Iterable[int], count: int) -> ServerError:
    return invalid(
        f"The schema can not convert input '{name}' to tensor with proper shape: got {count} elements, "
        f"expected shape {list(pattern)}"
    )


def _data(name: str, datatype: str, elements: list[Any]) -> Buffer:
    if datatype == "BYTES":
        for element in elements:
            if not isinstance(element, str):
                raise _mistyped(name, datatype, element)
        packed: Buffer = byte_strings.pack([element.encode("utf-8", "surrogatepass") for element in elements])
        return packed
    for element in elements:
        if not _fits(datatype, element):
            raise _mistyped(name, datatype, element)
    if datatype == "BOOL":
        return bytes(elements)
    import numpy as np  # a tenth of a second that the start of a server does not wait for

    array = np.array(elements, _DTYPES[datatype])
    return (array.view("u4") >> 16).astype("u2").tobytes() if datatype == "BF16" else array.tobytes()


def _fits(datatype: str, element: object) -> bool:
    if datatype == "BOOL" or isinstance(element, bool):
        return datatype == "BOOL" and isinstance(element, bool)
    if "INT" not in datatype:
        return isinstance(element, int | float)
    return isinstance(element, int) and element in _RANGES[datatype]


def _mistyped(name: str, datatype: str, element: object) -> ServerError:
    return invalid(f"input '{name}' can't take {rest_values.kind(element)}, expected elements of {datatype}")
