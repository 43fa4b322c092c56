"""V1: instances to tensors, tensors to predictions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pyserver.core import bytes as byte_strings
from pyserver.errors import ErrorCode, ServerError
from pyserver.protocol.rest_v1 import decode, encode
from pyserver.types import InferResponse, Tensor

X = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
NAMES = {"name": "s", "datatype": "BYTES", "shape": [-1, 1]}
COUNT = {"name": "n", "datatype": "INT8", "shape": [-1, 1]}


def asked(document: Any, *specs: dict[str, Any], batching: bool = True) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return decode(body, specs, batching, "m", "", 1 << 20)


def tensors(document: Any, *specs: dict[str, Any], batching: bool = True) -> dict[str, tuple[str, Any, bytes]]:
    request = asked(document, *specs, batching=batching).request
    return {each.name: (each.datatype, each.shape, bytes(each.data)) for each in request.inputs}


def floats(*values: float) -> bytes:
    return np.array(values, np.float32).tobytes()


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_rows_of_the_only_input(key: str) -> None:
    assert tensors({key: [[1, 2.5], [3, 4]]}, X) == {"x": ("FP32", (2, 2), floats(1, 2.5, 3, 4))}


def test_rows_that_are_objects() -> None:
    rows = [{"n": 1, "s": "a"}, {"s": "ü", "n": [2]}]
    with pytest.raises(ServerError, match="nested lists of one length"):
        tensors({"instances": rows}, COUNT, NAMES)
    rows[1]["n"] = -2
    assert tensors({"instances": rows}, COUNT, NAMES) == {
        "n": ("INT8", (2, 1), b"\x01\xfe"),
        "s": ("BYTES", (2, 1), byte_strings.pack([b"a", "ü".encode()])),
    }


def test_columns() -> None:
    found = tensors({"inputs": {"n": [[1], [2]], "s": [["a"], [{"b64": "/w=="}]]}}, COUNT, NAMES)
    assert found["n"] == ("INT8", (2, 1), b"\1\2")
    assert found["s"] == ("BYTES", (2, 1), byte_strings.pack([b"a", b"\xff"]))


def test_a_model_without_a_batch() -> None:
    spec = {"name": "x", "datatype": "FP32", "shape": [2]}
    question = asked({"instances": [[1, 2]]}, spec, batching=False)
    assert (question.one_row, question.request.inputs[0].shape) == (True, (2,))
    question = asked({"instances": [1, 2]}, spec, batching=False)
    assert (question.one_row, question.request.inputs[0].shape) == (False, (2,))


def test_a_model_that_does_not_say_what_it_takes() -> None:
    assert tensors({"instances": [[1, 2]]}) == {"input-0": ("INT64", (1, 2), np.array([1, 2]).tobytes())}
    assert tensors({"instances": [0.5]})["input-0"][0] == "FP64"
    assert tensors({"instances": [True]})["input-0"][0] == "BOOL"
    assert tensors({"instances": ["a"]})["input-0"] == ("BYTES", (1,), byte_strings.pack([b"a"]))
    assert set(tensors({"instances": [{"a": 1, "b": "x"}]})) == {"a", "b"}


@pytest.mark.parametrize("datatype", ["FP16", "FP64", "BF16", "UINT64", "BOOL"])
def test_datatypes(datatype: str) -> None:
    value = {"UINT64": 2**64 - 1, "BOOL": True}.get(datatype, 1.5)
    spec = {"name": "x", "datatype": datatype, "shape": [-1, 1]}
    (found,) = asked({"instances": [[value]]}, spec).request.inputs
    answer = json.loads(encode(InferResponse("m", "1", outputs=[found]), False))
    assert answer == {"predictions": [[value]]}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"{", "Unrecognized request format"),
        ([1], "Unrecognized request format: expected an object, got an array"),
        ({"foo": 1}, "neither 'instances' nor 'inputs'"),
        ({"instances": 3}, "to be a list"),
        ({"instances": []}, "an empty list"),
        ({"instances": {"x": 1}}, "to be a list"),
        ({"instances": [[1, 2], [3]]}, "nested lists of one length"),
        ({"instances": [["a", "b"]]}, "input 'x' can't take the string 'a', expected elements of FP32"),
        ({"instances": [[None, 1]]}, "input 'x' can't take"),
        ({"instances": [[10**400, 1]]}, "number is infinity"),
        ({"instances": [{"x": [1, 2]}, {"y": [1, 2]}]}, "instance 1 has inputs ['y'], the first has ['x']"),
        (b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}", "x"),
    ],
)
def test_what_is_refused(document: Any, words: str) -> None:
    with pytest.raises(ServerError) as caught:
        asked(document, X)
    assert caught.value.code is ErrorCode.INVALID_ARG
    assert words in caught.value.message


@pytest.mark.parametrize(("value", "words"), [(128, "number 128"), (-129, "number -129"), (1.5, "1.5"), (True, "true")])
def test_integers_are_of_their_size(value: Any, words: str) -> None:
    with pytest.raises(ServerError, match=words):
        asked({"instances": [[value]]}, COUNT)


@pytest.mark.parametrize("value", [1, None, {"b64": "?"}, {"b64": 1}, [["a"], "b"], "DEEP"])
def test_strings_that_are_none(value: Any) -> None:
    body = json.dumps({"instances": [value, value]})
    if value == "DEEP":
        body = '{"instances": ' + "[" * 900 + '"a"' + "]" * 900 + "}"
    with pytest.raises(ServerError) as caught:
        asked(body.encode(), NAMES)
    assert caught.value.code is ErrorCode.INVALID_ARG


def test_several_inputs_need_names() -> None:
    with pytest.raises(ServerError, match="model 'm' has several inputs"):
        asked({"instances": [[1, 2]]}, X, COUNT)


def test_too_much() -> None:
    with pytest.raises(ServerError, match="exceeds the maximum allowed"):
        decode(b" " * 11, [], False, "m", "", 10)


def predictions(*outputs: Tensor, one_row: bool = False) -> Any:
    return json.loads(encode(InferResponse("m", "1", outputs=list(outputs)), one_row))["predictions"]


def test_predictions() -> None:
    y = Tensor("y", "FP32", (2, 1), floats(1, 2))
    s = Tensor("s", "BYTES", (2,), byte_strings.pack([b"a", b"\xff"]))
    assert predictions(y) == [[1.0], [2.0]]
    assert predictions(y, s) == [{"y": [1.0], "s": "a"}, {"y": [2.0], "s": {"b64": "/w=="}}]
    assert predictions(y, Tensor("z", "INT8", (3,), b"\1\2\3")) == {"y": [[1.0], [2.0]], "z": [1, 2, 3]}
    assert predictions(Tensor("z", "INT8", (3,), b"\1\2\3"), one_row=True) == [[1, 2, 3]]
    assert predictions(Tensor("z", "INT8", (), b"\1")) == [1]
    assert predictions(Tensor("z", "FP32", (2,), floats(float("nan"), 1))) == [None, 1.0]


def test_an_output_that_is_broken() -> None:
    with pytest.raises(ServerError, match="output 'y'") as caught:
        predictions(Tensor("y", "FP32", (3,), bytes(8)))
    assert caught.value.code is ErrorCode.INTERNAL
