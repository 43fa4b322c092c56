import json
from typing import Any

import numpy as np
import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.protocol import rest_response
from pyserver.protocol.rest_infer import encode
from pyserver.types import Extension, InferRequest, InferResponse, Part, RequestedOutput, Tensor

ONES = memoryview(np.ones(4, np.float32).tobytes())


def floats(name: str = "O", data: Any = ONES, shape: tuple[int, ...] = (1, 4)) -> Tensor:
    return Tensor(name, "FP32", shape, data)


def answer(*outputs: Tensor, **fields: Any) -> InferResponse:
    return InferResponse("m", "1", outputs=list(outputs), **fields)


def encoded(response: InferResponse, **fields: Any) -> tuple[int | None, bytes, list[Any]]:
    length, buffers = encode(response, InferRequest("m", **fields))
    if length is None:
        return None, b"".join(buffers), []
    return length, bytes(buffers[0]), buffers[1:]


def test_a_binary_answer_is_a_header_and_the_outputs_themselves() -> None:
    length, text, raw = encoded(answer(floats()), binary_output=True)
    assert text == (
        b'{"model_name":"m","model_version":"1","outputs":'
        b'[{"name":"O","datatype":"FP32","shape":[1,4],"parameters":{"binary_data_size":16}}]}'
    )
    assert length == len(text)
    assert raw == [ONES]
    assert raw[0] is ONES


def test_a_json_answer_is_json_alone() -> None:
    length, text, raw = encoded(answer(floats()))
    assert length is None
    assert raw == []
    assert text == (
        b'{"model_name":"m","model_version":"1","outputs":'
        b'[{"name":"O","datatype":"FP32","shape":[1,4],"data":[1.0,1.0,1.0,1.0]}]}'
    )


def test_the_elements_of_a_json_answer_are_a_buffer_of_their_own() -> None:
    text = b"[1.0,1.0,1.0,1.0]"
    _, buffers = encode(answer(floats(), floats("P")), InferRequest("m"))
    assert [buffer == text for buffer in buffers] == [False, True, False, True, False]


@pytest.mark.parametrize("binary", [True, False])
def test_the_order_of_keys(binary: bool) -> None:
    output = floats()
    output.parameters = {"k": 1}
    response = answer(output, id='i"d', parameters={"p": True})
    _, text, _ = encoded(response, binary_output=binary)
    document = json.loads(text)
    assert list(document) == ["id", "model_name", "model_version", "parameters", "outputs"]
    assert document["id"] == 'i"d'
    assert document["parameters"] == {"p": True}
    tail = {"binary_data_size": 16} if binary else {}
    assert document["outputs"][0]["parameters"] == {"k": 1, **tail}
    assert list(document["outputs"][0])[:3] == ["name", "datatype", "shape"]


@pytest.mark.parametrize("id", ["7", 'quote " and \\ and ä', "\0"])
def test_an_id_before_a_known_header(id: str) -> None:
    encoded(answer(floats()), binary_output=True)
    length, text, _ = encoded(answer(floats(), id=id), binary_output=True)
    assert length == len(text)
    assert json.loads(text)["id"] == id
    assert list(json.loads(text)) == ["id", "model_name", "model_version", "outputs"]


def test_an_answer_may_have_no_outputs() -> None:
    assert encoded(answer(), binary_output=True) == (
        None,
        b'{"model_name":"m","model_version":"1","outputs":[]}',
        [],
    )


@pytest.mark.parametrize(
    ("default", "listed", "binary"),
    [
        (False, None, []),
        (True, None, ["a", "b"]),
        (False, [("a", True)], ["a"]),
        # `binary_data_output` is for outputs that are not listed.
        (True, [("a", False), ("b", True)], ["b"]),
        (True, [("a", False)], ["b"]),
        (False, [("b", True), ("a", True)], ["a", "b"]),
        (True, [], ["a", "b"]),
    ],
)
def test_which_outputs_are_binary(default: bool, listed: list[tuple[str, bool]] | None, binary: list[str]) -> None:
    response = answer(floats("a"), floats("b"))
    outputs = None if listed is None else [RequestedOutput(*pair) for pair in listed]
    length, text, raw = encoded(response, binary_output=default, outputs=outputs)
    found = json.loads(text)["outputs"]
    assert [output["name"] for output in found] == ["a", "b"]
    assert [output["name"] for output in found if "parameters" in output] == binary
    assert [output["name"] for output in found if "data" not in output] == binary
    assert len(raw) == len(binary)
    assert (length is not None) == bool(binary)


def test_binary_outputs_without_a_byte_make_no_binary_answer() -> None:
    length, text, _ = encoded(answer(floats(data=b"", shape=(0, 4))), binary_output=True)
    assert length is None
    assert json.loads(text)["outputs"][0]["parameters"] == {"binary_data_size": 0}
    length, _, raw = encoded(answer(floats(data=b"", shape=(0, 4)), floats("P")), binary_output=True)
    assert length is not None
    assert b"".join(raw) == bytes(ONES)


def test_floats_are_written_as_the_doubles_they_are() -> None:
    data = np.array([0.1, 3, -2.5, np.nan, np.inf, -np.inf], np.float32).tobytes()
    _, text, _ = encoded(answer(floats(data=data, shape=(6,))))
    assert b'"data":[0.10000000149011612,3.0,-2.5,NaN,Infinity,-Infinity]' in text


@pytest.mark.parametrize(("datatype", "numpy"), [("FP16", "<f2"), ("BF16", None)])
def test_halves_are_numbers_in_json(datatype: str, numpy: str | None) -> None:
    values = np.array([1.5, -2.0], "<f4")
    data = values.astype(numpy).tobytes() if numpy else values.view("<u2")[1::2].tobytes()
    _, text, _ = encoded(answer(Tensor("O", datatype, (2,), data)))
    assert b'"data":[1.5,-2.0]' in text


def test_bytes_are_strings_in_json() -> None:
    data = b"\3\0\0\0a\0\n" + b"\2\0\0\0" + "ä".encode()
    _, text, _ = encoded(answer(Tensor("O", "BYTES", (2,), data)))
    assert json.loads(text)["outputs"][0]["data"] == ["a\0\n", "ä"]


def test_bytes_that_json_cannot_hold_are_the_clients_to_ask_for_otherwise() -> None:
    response = answer(Tensor("O", "BYTES", (1,), b"\1\0\0\0\xff"))
    with pytest.raises(ServerError, match=r"output 'O' can't be sent as JSON: element 0 isn't UTF-8.*binary") as caught:
        encoded(response)
    assert caught.value.code is ErrorCode.INVALID_ARG
    assert encoded(response, binary_output=True)[2] == [b"\1\0\0\0\xff"]


@pytest.mark.parametrize(
    "output",
    [Tensor("O", "FP32", (3,), bytes(16)), Tensor("O", "BYTES", (1,), b"\5\0\0\0ab"), Tensor("O", "INT64", (1,), b"")],
    ids=["long", "cut", "short"],
)
def test_outputs_that_are_not_what_they_say_are_our_fault(output: Tensor) -> None:
    with pytest.raises(ServerError, match="output 'O'") as caught:
        encoded(answer(output))
    assert caught.value.code is ErrorCode.INTERNAL


def test_a_header_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = encoded(answer(floats("memo")), binary_output=True)
    monkeypatch.setattr(rest_response, "_remembered", None)
    assert encoded(answer(floats("memo")), binary_output=True) == first


@pytest.mark.parametrize(
    "other",
    [
        answer(floats("memo2", shape=(4, 1))),
        answer(floats("memo3")),
        answer(Tensor("memo2", "INT32", (1, 4), ONES)),
        answer(floats("memo2", shape=(2, 4), data=bytes(32))),
        answer(floats("memo2"), floats("memo2")),
        InferResponse("m", "2", outputs=[floats("memo2")]),
        InferResponse("n", "1", outputs=[floats("memo2")]),
    ],
)
def test_a_known_header_is_that_of_its_answer_alone(other: InferResponse) -> None:
    _, before, _ = encoded(answer(floats("memo2")), binary_output=True)
    length, text, _ = encoded(other, binary_output=True)
    assert text != before
    assert length == len(text)
    assert json.loads(text)["outputs"] == [
        {
            "name": t.name,
            "datatype": t.datatype,
            "shape": list(t.shape),
            "parameters": {"binary_data_size": len(t.data)},
        }
        for t in other.outputs
    ]


def test_the_memory_for_headers_is_bounded() -> None:
    for number in range(3 * rest_response._MEMORY_ENTRIES):
        encoded(answer(floats(f"x{number}")), binary_output=True)
    assert len(rest_response._memory) <= rest_response._MEMORY_ENTRIES


@pytest.mark.parametrize("binary", [True, False])
def test_an_output_in_shared_memory_has_no_data(binary: bool) -> None:
    extension = Extension({}, {"S": Part("r", 0, 16)}, {})
    listed = [RequestedOutput("S"), RequestedOutput("O", binary)]
    response = answer(floats("S", b""), floats("O"))
    length, text, raw = encoded(response, outputs=listed, extension=extension)
    first, second = json.loads(text)["outputs"]
    assert first == {"name": "S", "datatype": "FP32", "shape": [1, 4]}
    assert ("data" in second, raw, length is None) == (not binary, [ONES] if binary else [], not binary)
