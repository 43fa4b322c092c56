"""The V1 protocol, that of TF Serving as KServe speaks it: instances in, predictions out. No I/O.

Rows are objects by input name, or bare values where the model has one input; `inputs` instead of `instances` gives
whole tensors by name. Values are nested lists. A string that is no UTF-8 is `{"b64": "..."}`, in both directions.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from pyserver.core import bytes as byte_strings
from pyserver.core.tensor import element_count
from pyserver.errors import ServerError, internal, invalid
from pyserver.protocol import rest_values as json_as
from pyserver.types import Buffer, InferRequest, InferResponse, Tensor

ANY_NAME = "input-0"
"""What KServe calls the input of a model that doesn't say how it calls it."""
MAX_RANK = 32
_CODES = {
    "BOOL": "?", "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "UINT16": "u2",
    "UINT32": "u4", "UINT64": "u8", "FP16": "f2", "FP32": "f4", "FP64": "f8", "BF16": "u2",
}  # fmt: skip
_KINDS = {"b": "BOOL", "i": "INT64", "u": "UINT64", "f": "FP64", "U": "BYTES", "O": "BYTES"}


class Question(NamedTuple):
    """A request, and whether its only row is the whole tensor of a model without a batch dimension."""

    request: InferRequest
    one_row: bool


def decode(
    body: Buffer, specs: Sequence[Mapping[str, Any]], batching: bool, name: str, version: str, limit: int
) -> Question:
    """What `body` asks of a model with inputs `specs` (name, datatype, shape; none where it takes any).

    ServerError (INVALID_ARG) for what can't be read so.
    """
    if len(body) > limit:
        raise invalid(
            f"request JSON of {len(body)} bytes exceeds the maximum allowed {limit} bytes. "
            "Use --http-max-input-size to increase the limit."
        )
    columns, given = _columns(_document(body), specs, name)
    known = {spec["name"]: spec for spec in specs}
    one_row = False
    inputs = []
    for key, value in columns.items():
        spec = known.get(key)
        datatype, array = _array(key, spec["datatype"] if spec else None, value)
        if spec is not None:
            rank = len(spec["shape"])
            # A row of a model without a batch is its whole input; a bare value is a row of one column.
            if not batching and given and array.ndim == rank + 1 and len(array) == 1:
                array, one_row = array[0], True
            elif array.ndim == rank - 1 and spec["shape"][-1] == 1:
                array = array[..., None]
        inputs.append(Tensor(key, datatype, array.shape, _data(datatype, array)))
    return Question(InferRequest(name, version, inputs=inputs), one_row)


def encode(response: InferResponse, one_row: bool) -> bytes:
    """`{"predictions": [...]}`: a row each where all outputs have as many; objects by name if there are several."""
    values = {output.name: _values(output) for output in response.outputs}
    if one_row:
        values = {name: [value] for name, value in values.items()}
    rows = {len(value) if isinstance(value, list) else -1 for value in values.values()}
    predictions: Any = values
    if len(values) == 1:
        (predictions,) = values.values()
        predictions = predictions if isinstance(predictions, list) else [predictions]
    elif len(rows) == 1 and rows != {-1}:
        predictions = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return orjson.dumps({"predictions": predictions})


def _document(body: Buffer) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except ValueError as error:
        raise invalid(f"Unrecognized request format: {error}") from None
    if not isinstance(document, dict):
        raise invalid(f"Unrecognized request format: expected an object, got {json_as.kind(document)}")
    return document


def _columns(document: dict[str, Any], specs: Sequence[Mapping[str, Any]], model: str) -> tuple[dict[str, Any], bool]:
    """The values of each input, and whether they are given row by row."""
    if "instances" in document:
        rows = document["instances"]
    elif isinstance(document.get("inputs"), dict) and not _is_bytes(document["inputs"]):
        return document["inputs"], False
    elif "inputs" in document:
        rows = document["inputs"]
    else:
        raise invalid(f"request to model '{model}' has neither 'instances' nor 'inputs'")
    if not isinstance(rows, list) or not rows:
        got = "an empty list" if rows == [] else json_as.kind(rows)
        raise invalid(f"Expected 'instances' or 'inputs' to be a list with at least one row, got {got}")
    if all(isinstance(row, dict) and not _is_bytes(row) for row in rows):
        names = rows[0].keys()
        for number, row in enumerate(rows):
            if row.keys() != names:
                raise invalid(f"instance {number} has inputs {sorted(row)}, the first has {sorted(names)}")
        return {name: [row[name] for row in rows] for name in names}, True
    if len(specs) > 1:
        names = [spec["name"] for spec in specs]
        raise invalid(f"model '{model}' has several inputs: expected instances that are objects with keys {names}")
    return {specs[0]["name"] if specs else ANY_NAME: rows}, True


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _array(name: str, datatype: str | None, value: Any) -> tuple[str, Any]:
    """The datatype, guessed where the model doesn't say, and the elements as an array; BYTES as one of objects."""
    import numpy as np

    try:
        array = np.asarray(value if datatype != "BYTES" else _strings(name, value))
    except (ValueError, OverflowError):
        raise invalid(f"input '{name}' is no tensor: expected nested lists of one length") from None
    if datatype is None:
        datatype = _KINDS[array.dtype.kind]
    if datatype == "BYTES":
        if array.dtype.kind != "O":
            array = np.asarray(_strings(name, value))
        return datatype, array
    if array.dtype.kind == "O" or (array.dtype.kind == "f" and "INT" in datatype):
        array = np.asarray(value, object)
        wrong = [each for each in array.ravel() if type(each) is not int]
        if wrong or "INT" not in datatype:
            raise _mistyped(name, datatype, wrong[0] if wrong else array.ravel()[0])
    elif array.size and not _suits(array.dtype.kind, datatype):
        raise _mistyped(name, datatype, array.ravel()[0].item())
    if "INT" in datatype and array.size:
        limits = np.iinfo(_CODES[datatype])
        for extreme in (int(array.min()), int(array.max())):
            if not limits.min <= extreme <= limits.max:
                raise _mistyped(name, datatype, extreme)
    if datatype == "BF16":
        return datatype, (array.astype("f4").view("u4") >> 16).astype("u2")
    with np.errstate(over="ignore"):
        return datatype, array.astype(_CODES[datatype])


def _suits(kind: str, datatype: str) -> bool:
    if datatype == "BOOL":
        return kind == "b"
    return kind in ("iu" if "INT" in datatype else "iuf")


def _strings(name: str, value: Any, rank: int = 0) -> Any:
    """Nested lists of strings as an array of objects, which hold their bytes."""
    import numpy as np

    if isinstance(value, list):
        parts = [_strings(name, each, rank + 1) for each in value] if rank < MAX_RANK else []
        if rank == MAX_RANK or len({part.shape for part in parts}) > 1:
            raise invalid(f"input '{name}' is no tensor: expected nested lists of one length")
        made = np.empty((len(parts), *(parts[0].shape if parts else ())), object)
        for number, part in enumerate(parts):
            made[number] = part if part.ndim else part.item()
        return made
    made = np.empty((), object)
    if _is_bytes(value) and isinstance(value["b64"], str):
        try:
            made[()] = base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid(f"input '{name}' has a 'b64' that is not valid base64: {error}") from None
    elif isinstance(value, str):
        made[()] = value.encode()
    else:
        raise _mistyped(name, "BYTES", value)
    return made


def _mistyped(name: str, datatype: str, element: object) -> ServerError:
    return invalid(f"input '{name}' can't take {json_as.kind(element)}, expected elements of {datatype}")


def _data(datatype: str, array: Any) -> Buffer:
    if datatype == "BYTES":
        packed: Buffer = byte_strings.pack(array.ravel().tolist())
        return packed
    data: bytes = array.tobytes()
    return data


def _values(output: Tensor) -> Any:
    """The elements in nested lists; a bare one where the shape is empty. What JSON has no number for is null."""
    import numpy as np

    try:
        if output.datatype == "BYTES":
            elements = [_text(bytes(each)) for each in byte_strings.unpack(output.data, element_count(output.shape))]
            flat = np.empty(len(elements), object)
            flat[:] = elements
        else:
            flat = np.frombuffer(output.data, _CODES[output.datatype])
            if output.datatype == "BF16":
                flat = (flat.astype("u4") << 16).view("f4")
        return flat.reshape(output.shape).tolist()
    except ValueError as error:
        raise internal(f"output '{output.name}' is not what its shape {list(output.shape)} says: {error}") from None


def _text(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(data).decode()}


def names(models: Iterable[str]) -> bytes:
    """The list of models."""
    return orjson.dumps({"models": list(models)})
