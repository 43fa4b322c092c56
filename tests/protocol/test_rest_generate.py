"""The generate extension without a server: flat objects to tensors and back, and every way to get them wrong."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserver.errors import ErrorCode, ServerError
from pyserver.protocol import rest_generate
from pyserver.types import InferRequest, InferResponse, Tensor

LIMIT = 1 << 20
DTYPES = {
    "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4",
    "UINT64": "u8", "FP32": "f4", "FP64": "f8",
}  # fmt: skip


def spec(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def decode(document: Any, *specs: dict[str, Any], limit: int = LIMIT) -> InferRequest:
    return rest_generate.decode(json.dumps(document).encode(), specs, "m", "3", limit)


def encoded(*outputs: Tensor, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rest_generate.encode(InferResponse("m", "3", outputs=list(outputs), **fields)))
    return found


def test_inputs_an_id_and_parameters() -> None:
    text = {
        "PROMPT": "hél\0lo",
        "id": "7",
        "stream": False,
        "parameters": {"STEPS": 3, "temperature": 0.5, "timeout": 9},
    }
    request = decode(text, spec("PROMPT", "BYTES", 1), spec("STEPS", "INT32", 1), spec("ABSENT", "FP32", 1))
    assert (request.model_name, request.model_version, request.id, request.timeout_us) == ("m", "3", "7", 9)
    prompt, steps = request.inputs
    assert (prompt.name, prompt.datatype, prompt.shape) == ("PROMPT", "BYTES", (1,))
    assert bytes(prompt.data) == (7).to_bytes(4, "little") + "hél\0lo".encode()
    assert (steps.shape, bytes(steps.data)) == ((1,), b"\3\0\0\0")
    assert {"stream": False, "temperature": 0.5}.items() <= request.parameters.items()
    assert request.outputs is None


@pytest.mark.parametrize(
    ("pattern", "count", "shape"),
    [
        ((1,), 1, (1,)),
        ((-1,), 5, (5,)),
        ((-1,), 0, (0,)),
        ((-1, 3), 6, (2, 3)),
        ((3, -1), 6, (3, 2)),
        ((-1, -1), 4, (1, 4)),
        ((2, 2), 4, (2, 2)),
        ((), 1, ()),
    ],
)
def test_a_list_takes_the_shape_of_its_input(pattern: tuple[int, ...], count: int, shape: tuple[int, ...]) -> None:
    (made,) = decode({"X": list(range(count))}, spec("X", "INT32", *pattern)).inputs
    assert made.shape == shape
    assert bytes(made.data) == np.arange(count, dtype="i4").tobytes()


@pytest.mark.parametrize(("pattern", "count"), [((1,), 2), ((2,), 1), ((-1, 3), 4), ((2, 2), 8), ((), 2), ((2,), 0)])
def test_a_list_that_has_no_such_shape(pattern: tuple[int, ...], count: int) -> None:
    with pytest.raises(ServerError, match=f"can not convert input 'X' to tensor.* got {count} elements"):
        decode({"X": [1] * count}, spec("X", "INT32", *pattern))


@given(st.data(), st.sampled_from(sorted(DTYPES)))
def test_numbers_there_and_back(data: st.DataObject, datatype: str) -> None:
    kind = np.dtype(DTYPES[datatype])
    if kind.kind == "f":
        elements: st.SearchStrategy[Any] = st.floats(width=8 * kind.itemsize, allow_nan=False, allow_infinity=False)
    else:
        limits = np.iinfo(kind)
        elements = st.integers(int(limits.min), int(limits.max))
    values = data.draw(st.lists(elements, max_size=8))
    (made,) = decode({"X": values}, spec("X", datatype, -1)).inputs
    assert np.frombuffer(made.data, kind).tolist() == values
    said = encoded(made)["X"]
    assert (said if len(values) != 1 else [said]) == values


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=5))
def test_strings_there_and_back(values: list[str]) -> None:
    (made,) = decode({"X": values}, spec("X", "BYTES", -1)).inputs
    said = encoded(made)["X"]
    assert (said if len(values) != 1 else [said]) == values


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("INT8", 128), ("INT8", -129), ("UINT8", -1), ("UINT64", 1 << 64), ("INT64", 1 << 63), ("INT32", 1.5),
        ("INT32", "1"), ("INT32", None), ("INT32", True), ("INT32", [[1]]), ("INT32", {}), ("FP32", "1"),
        ("FP32", None), ("FP32", True), ("BOOL", 1), ("BOOL", "true"),
        ("BOOL", None), ("BYTES", 1), ("BYTES", None), ("BYTES", [["x"]]), ("FP16", "x"),
    ],
)  # fmt: skip
def test_values_of_another_type(datatype: str, value: Any) -> None:
    with pytest.raises(ServerError, match="'X'") as error:
        decode({"X": value if isinstance(value, list) else [value]}, spec("X", datatype, -1))
    assert error.value.code is ErrorCode.INVALID_ARG


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "failed to parse the request JSON buffer"),
        (b'{"X": 1', "failed to parse the request JSON buffer"),
        (b'{"X": \xff}', "failed to parse the request JSON buffer"),
        (b"[" * 100_000, "failed to parse the request JSON buffer"),
        (b"[1]", "generate"),
        (b"null", "generate"),
        (b'{"parameters": 3}', "Expected JSON object for keyword: 'parameters'"),
        (b'{"X": 1, "parameters": {"X": 2}}', "input 'X' already exists in request"),
        (b'{"nested": {"a": 1}}', "nested"),
        (b'{"triton_x": 1}', "reserved"),
    ],
)
def test_what_is_no_such_object(body: bytes, says: str) -> None:
    with pytest.raises(ServerError, match=says) as error:
        rest_generate.decode(body, [spec("X", "INT32", 1)], "m", "", LIMIT)
    assert error.value.code is ErrorCode.INVALID_ARG


def test_what_is_too_long_names_the_flag() -> None:
    body = json.dumps({"X": "x" * 100}).encode()
    assert rest_generate.decode(body, [spec("X", "BYTES", 1)], "m", "", len(body)).inputs
    with pytest.raises(ServerError, match="Use --http-max-input-size to increase the limit"):
        rest_generate.decode(body, [spec("X", "BYTES", 1)], "m", "", len(body) - 1)


def test_a_response_is_one_object_in_order() -> None:
    one = Tensor("Z", "FP32", (1, 1), np.array([1.5], "f4").tobytes())
    text = rest_generate.encode(InferResponse("m", "3", "i", [one], {"finish": "stop", "n": 2}))
    assert text == b'{"Z":1.5,"finish":"stop","id":"i","model_name":"m","model_version":"3","n":2}'
    assert encoded(Tensor("B", "BOOL", (2,), b"\1\0"), Tensor("E", "INT8", (0,), b"")) == {
        "B": [True, False], "E": [], "model_name": "m", "model_version": "3",
    }  # fmt: skip


def test_an_error_is_one_too() -> None:
    assert encoded(error=ServerError(ErrorCode.INTERNAL, 'no "way"\n')) == {"error": 'no "way"\n'}
    assert rest_generate.event(b'{"a":1}') == b'data: {"a":1}\n\n'
