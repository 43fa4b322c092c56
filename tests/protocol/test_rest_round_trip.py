"""numpy arrays -> the bytes of a request -> decode -> encode -> what a client reads: nothing may change on the way."""

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pyserver.errors import ErrorCode, ServerError
from pyserver.protocol.rest_infer import decode, encode
from pyserver.types import InferResponse, Tensor

NUMPY = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def numeric(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    datatype = draw(st.sampled_from(sorted(NUMPY)))
    return datatype, draw(arrays.arrays(NUMPY[datatype], SHAPES))


@st.composite
def text(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    elements = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    return "BYTES", draw(arrays.arrays(object, SHAPES, elements=elements))


tensors = st.lists(numeric() | text(), min_size=1, max_size=4)


def raw(datatype: str, array: np.ndarray) -> bytes:
    if datatype != "BYTES":
        return array.tobytes()
    elements = [element.encode() for element in array.ravel().tolist()]
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)


def described(number: int, datatype: str, array: np.ndarray) -> dict[str, Any]:
    return {"name": f"t{number}", "datatype": datatype, "shape": list(array.shape)}


def request_of(values: list[tuple[str, np.ndarray]], binary: list[bool]) -> tuple[bytes, int]:
    inputs, tail = [], []
    for number, (datatype, array) in enumerate(values):
        fields = described(number, datatype, array)
        if binary[number]:
            tail.append(raw(datatype, array))
            fields["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            fields["data"] = array.tolist() if array.ndim else [array.item()]
        inputs.append(fields)
    header = json.dumps({"inputs": inputs}).encode()
    return header + b"".join(tail), len(header)


def read(length: int | None, body: bytes) -> list[tuple[list[int], bytes]]:
    """The outputs of an answer as raw bytes, read in another way than the code under test does."""
    header = json.loads(body if length is None else body[:length])
    at = len(body) if length is None else length
    outputs = []
    for output in header["outputs"]:
        if "data" in output:
            values = np.array(output["data"], NUMPY.get(output["datatype"], object))
            outputs.append((output["shape"], raw(output["datatype"], values)))
        else:
            size = output["parameters"]["binary_data_size"]
            outputs.append((output["shape"], body[at : at + size]))
            at += size
    assert at == len(body)
    return outputs


@given(tensors, st.data())
def test_tensors_come_back_as_they_went(values: list[tuple[str, np.ndarray]], data: st.DataObject) -> None:
    flags = st.lists(st.booleans(), min_size=len(values), max_size=len(values))
    body, length = request_of(values, data.draw(flags))
    request = decode(memoryview(body), length, "m")
    for (datatype, array), tensor in zip(values, request.inputs, strict=True):
        assert (tensor.datatype, tensor.shape) == (datatype, array.shape)
        assert same(datatype, bytes(tensor.data), raw(datatype, array))
    request.binary_output = data.draw(st.booleans())
    outputs = [Tensor(t.name, t.datatype, t.shape, t.data) for t in request.inputs]
    found, buffers = encode(InferResponse("m", "1", outputs=outputs), request)
    for (datatype, array), (shape, content) in zip(values, read(found, b"".join(buffers)), strict=True):
        assert tuple(shape) == array.shape
        assert same(datatype, content, raw(datatype, array))


def same(datatype: str, left: bytes, right: bytes) -> bool:
    """Equal, but for the bits inside a NaN, of which JSON knows only the one."""
    if not datatype.startswith("FP"):
        return left == right
    return np.array_equal(np.frombuffer(left, NUMPY[datatype]), np.frombuffer(right, NUMPY[datatype]), equal_nan=True)


def fault(body: bytes, length: int) -> ServerError | None:
    try:
        decode(body, length, "m")
    except ServerError as error:
        return error
    return None


@given(st.binary(max_size=200), st.integers(0, 210))
def test_any_bytes_are_a_request_or_a_clear_error(body: bytes, length: int) -> None:
    error = fault(body, min(length, len(body)))
    assert error is None or error.code is ErrorCode.INVALID_ARG


ODD = st.sampled_from(
    [None, True, 0, -1, 1.5, 1 << 66, "", "a", [], [0], [None], ["a"], [[1]], [{}], {}, {"name": 1}, {"data": [1]}]
)
INPUT = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("x") | ODD,
        "datatype": st.sampled_from(["FP32", "BYTES", "x"]) | ODD,
        "shape": st.just([1]) | ODD,
        "data": st.just([1]) | ODD,
        "parameters": st.just({"binary_data_size": 4}) | ODD,
    },
)
DOCUMENT = st.fixed_dictionaries(
    {}, optional={"id": ODD, "inputs": st.lists(INPUT, max_size=2) | ODD, "outputs": ODD, "parameters": ODD}
)


@given(DOCUMENT)
def test_any_document_is_a_request_or_a_clear_error(document: dict[str, Any]) -> None:
    text = json.dumps(document).encode()
    error = fault(text + bytes(4), len(text))
    assert error is None or (error.code is ErrorCode.INVALID_ARG and len(error.message) < 500)
