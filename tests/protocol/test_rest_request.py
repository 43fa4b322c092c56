import json
import re
from typing import Any

import numpy as np
import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.protocol import rest_request
from pyserver.protocol.rest_infer import decode, parse_header_length
from pyserver.types import SEQUENCE_END, SEQUENCE_START, Extension, InferRequest, Part, RequestedOutput

FLOATS = np.arange(4, dtype=np.float32).tobytes()


def body_of(document: object, *raw: bytes) -> tuple[bytes, int]:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return text + b"".join(raw), len(text)


def given(document: object, *raw: bytes) -> InferRequest:
    body, length = body_of(document, *raw)
    return decode(body, length, "m")


def refused(document: object, *raw: bytes) -> str:
    with pytest.raises(ServerError) as caught:
        given(document, *raw)
    assert caught.value.code is ErrorCode.INVALID_ARG
    return caught.value.message


def binary(name: str = "x", datatype: str = "FP32", shape: Any = (1, 4), size: Any = 16) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


def plain(data: Any, datatype: str = "FP32", shape: Any = (1, 4)) -> dict[str, Any]:
    return {"name": "x", "datatype": datatype, "shape": shape, "data": data}


# What a request may say.


def test_binary_inputs_are_views_of_the_body_in_order() -> None:
    second = np.arange(2, dtype=np.int32).tobytes()
    document = {"inputs": [binary("A"), binary("B", "INT32", [1, 2], 8)], "parameters": {"binary_data_output": True}}
    text = json.dumps(document).encode()
    arena = bytearray(text + FLOATS + second)
    request = decode(memoryview(arena), len(text), "m", "3", None)
    assert (request.model_name, request.model_version, request.id) == ("m", "3", "")
    assert [(t.name, t.datatype, t.shape, bytes(t.data)) for t in request.inputs] == [
        ("A", "FP32", (1, 4), FLOATS),
        ("B", "INT32", (1, 2), second),
    ]
    assert request.binary_output
    assert request.outputs is None
    arena[len(text)] = 255
    assert request.inputs[0].data[0] == 255


def test_the_body_may_be_json_alone() -> None:
    body = json.dumps({"inputs": [plain([0, 1.0, 2, 3e0])]}).encode()
    request = decode(body, None, "m")
    assert bytes(request.inputs[0].data) == FLOATS
    assert not request.binary_output


def test_json_and_binary_inputs_may_be_mixed() -> None:
    document = {"inputs": [plain([True, False], "BOOL", [2]), binary("y"), plain(["ab", ""], "BYTES", [2])]}
    document["inputs"][2]["name"] = "z"
    request = given(document, FLOATS)
    assert [bytes(t.data) for t in request.inputs] == [b"\1\0", FLOATS, b"\2\0\0\0ab\0\0\0\0"]


def test_all_that_a_request_can_carry() -> None:
    request = given(
        {
            "id": "7",
            "inputs": [{**binary(), "parameters": {"binary_data_size": 16, "content_type": "np", "odd": [1]}}],
            "outputs": [
                {"name": "a", "parameters": {"binary_data": True}},
                {"name": "b", "parameters": {"binary_data": False, "k": 1}},
                {"name": "a"},
                {"name": "c"},
            ],
            "parameters": {
                "sequence_id": 12, "sequence_start": True, "sequence_end": True, "priority": 2, "timeout": 5000,
                "s": "text", "i": -(1 << 63), "f": 0.5, "b": False, "headers": "kept",
            },
            "unknown": {"key": [1]},
        },
        FLOATS,
    )  # fmt: skip
    assert request.id == "7"
    assert request.inputs[0].parameters == {"content_type": "np"}
    assert request.outputs == [
        RequestedOutput("a", True),
        RequestedOutput("b", False, {"k": 1}),
        RequestedOutput("c", False),
    ]
    assert request.correlation_id == 12
    assert request.flags == SEQUENCE_START | SEQUENCE_END
    assert (request.priority, request.timeout_us) == (2, 5000)
    assert request.parameters == {"s": "text", "i": -(1 << 63), "f": 0.5, "b": False, "headers": "kept"}
    assert list(request.parameters) == ["s", "i", "f", "b", "headers"]


@pytest.mark.parametrize(
    ("parameters", "flags", "correlation"),
    [
        ({"sequence_start": True, "sequence_id": "s"}, SEQUENCE_START, "s"),
        ({"sequence_start": False, "sequence_end": True}, SEQUENCE_END, 0),
        ({"sequence_id": (1 << 64) - 1}, 0, (1 << 64) - 1),
    ],
)
def test_sequences(parameters: dict[str, Any], flags: int, correlation: int | str) -> None:
    request = given({"inputs": [binary()], "parameters": parameters}, FLOATS)
    assert (request.flags, request.correlation_id) == (flags, correlation)


def test_no_outputs_are_all_outputs() -> None:
    assert given({"inputs": [binary()], "outputs": []}, FLOATS).outputs is None


@pytest.mark.parametrize(("body", "length"), [(b"raw content", 0), (b"", None), (b"", 0)])
def test_raw_requests(body: bytes, length: int | None) -> None:
    request = decode(memoryview(body), length, "m")
    assert request.raw_input
    assert request.binary_output
    (only,) = request.inputs
    assert (only.name, only.datatype, only.shape, bytes(only.data)) == ("", "", (), body)


def test_a_lease_goes_with_the_request() -> None:
    class Lease:
        def release(self) -> None: ...

    lease = Lease()
    body, length = body_of({"inputs": [binary()]}, FLOATS)
    assert decode(body, length, "m", "", lease).lease is lease
    assert decode(body, 0, "m", "", lease).lease is lease


@pytest.mark.parametrize(
    "data", [[0, 1, 2, 3], [[0, 1, 2, 3]], [[0], [1], [[2, 3]]], [[], [0, 1], 2, [[[3]]]]], ids=str
)
def test_nesting_of_data_says_nothing(data: Any) -> None:
    assert bytes(given({"inputs": [plain(data)]}).inputs[0].data) == FLOATS


def test_data_may_come_before_its_datatype() -> None:
    text = b'{"inputs":[{"data":[0,1,2,3],"shape":[4],"name":"x","datatype":"FP32"}]}'
    assert bytes(given(text).inputs[0].data) == FLOATS


def test_not_a_number_is_one_here() -> None:
    request = given(b'{"inputs":[{"name":"x","datatype":"FP32","shape":[3],"data":[NaN,-Infinity,Infinity]}]}')
    assert np.array_equal(np.frombuffer(request.inputs[0].data, np.float32), [np.nan, -np.inf, np.inf], equal_nan=True)


@pytest.mark.parametrize("shape", [[0, 4], [4, 0], [0]])
def test_an_empty_tensor(shape: list[int]) -> None:
    assert given({"inputs": [plain([], shape=shape)]}).inputs[0].shape == tuple(shape)
    assert bytes(given({"inputs": [binary(shape=shape, size=0)]}).inputs[0].data) == b""


# A header that comes again.


def test_a_header_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    body, length = body_of({"inputs": [binary("once")], "parameters": {"k": 1}}, FLOATS)
    first = decode(body, length, "m")
    monkeypatch.setattr(rest_request, "_parse", None)
    other = body[:length] + bytes(16)
    second = decode(other, length, "n")
    assert second.model_name == "n"
    assert (second.inputs[0].name, second.inputs[0].shape) == ("once", (1, 4))
    assert (bytes(first.inputs[0].data), bytes(second.inputs[0].data)) == (FLOATS, bytes(16))
    first.parameters["k"] = 2
    first.inputs[0].shape = ()
    assert second.parameters == decode(body, length, "m").parameters == {"k": 1}
    assert decode(body, length, "m").inputs[0].shape == (1, 4)


def test_the_memory_for_headers_is_bounded() -> None:
    for number in range(3 * rest_request._MEMORY_ENTRIES):
        given({"inputs": [binary(f"x{number}")]}, FLOATS)
    assert len(rest_request._memory) <= rest_request._MEMORY_ENTRIES


def test_an_id_in_front_is_no_other_header(monkeypatch: pytest.MonkeyPatch) -> None:
    given({"id": "1", "inputs": [binary("ids")]}, FLOATS)
    monkeypatch.setattr(rest_request, "_parse", None)
    for id in ("2", "", "a b"):
        request = given({"id": id, "inputs": [binary("ids")]}, FLOATS)
        assert (request.id, request.inputs[0].name) == (id, "ids")
    assert given({"inputs": [binary("ids")]}, FLOATS).id == ""
    assert (
        given(json.dumps({"id": "3", "inputs": [binary("ids")]}).replace('{"id": ', '{ "id":').encode(), FLOATS).id
        == "3"
    )


@pytest.mark.parametrize("id", ["ä", 'a"b', "a\\b", "\n", "x"])
def test_ids_of_all_kinds(id: str) -> None:
    for _ in range(2):
        assert given({"id": id, "inputs": [binary("all")]}, FLOATS).id == id
        assert given({"inputs": [binary("all")], "id": id}, FLOATS).id == id
        assert given({"inputs": [binary("all")]}, FLOATS).id == ""


def test_an_id_may_not_come_twice() -> None:
    text = json.dumps({"inputs": [binary("twice")]})[1:]
    assert "a key occurs twice" in refused(b'{"id":"1","id":"2",' + text.encode(), FLOATS)


@pytest.mark.parametrize(
    "document",
    [{"inputs": [plain([0, 1, 2, 3]), binary("y")]}, {"inputs": [binary("z")], "id": "last"}],
    ids=["data", "id"],
)
def test_what_will_not_come_again_is_not_kept(document: dict[str, Any]) -> None:
    given(document, FLOATS)
    assert json.dumps(document).encode() not in rest_request._memory


def test_a_known_header_with_another_body_is_refused() -> None:
    document = {"inputs": [binary("known")]}
    given(document, FLOATS)
    assert "expecting 1 additional bytes" in refused(document, FLOATS[:-1])
    assert "unexpected additional input data for model 'm'" in refused(document, FLOATS, b"x")


# The header length.


@pytest.mark.parametrize(("text", "length"), [("0", 0), ("12", 12), ("012", 12), ("100", 100)])
def test_header_lengths(text: str, length: int) -> None:
    assert parse_header_length(text, 100) == length


@pytest.mark.parametrize("text", ["101", "-1", "-0", "9" * 19, "9" * 30, "+5", " 5", "1_0", "٣"])
def test_header_lengths_out_of_range(text: str) -> None:
    with pytest.raises(ServerError, match=r"inference header size should be in range \(0, 100\), got: ") as caught:
        parse_header_length(text, 100)
    assert caught.value.code is ErrorCode.INVALID_ARG


@pytest.mark.parametrize("text", ["", "abc", "1.0", "0x10", "12, 12", "9" * 5000])
def test_header_lengths_that_are_none(text: str) -> None:
    with pytest.raises(ServerError, match="Unable to parse Inference-Header-Content-Length, got: ") as caught:
        parse_header_length(text, 100)
    assert caught.value.code is ErrorCode.INVALID_ARG


# What is refused, by the rows of the table in which Triton's words for it stand.


@pytest.mark.parametrize(
    ("row", "document", "words"),
    [
        (7, b'{"inputs":[}', "failed to parse the request JSON buffer: Invalid value. at 11"),
        (7, b"{'inputs'}", "failed to parse the request JSON buffer: Missing a name for object member. at 1"),
        (7, b"   ", "failed to parse the request JSON buffer: The document is empty."),
        (7, b"{} {}", "The document root must not be followed by other values. at 3"),
        (7, b'{"inputs":[],"x":NaN}', "failed to parse the request JSON buffer: Invalid value."),
        (7, b"\xff\xfe", "failed to parse the request JSON buffer: "),
        (7, b'{"id":"\xff","inputs":[]}', "failed to parse the request JSON buffer: "),
        (8, {}, "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"),
        (8, [], "attempt to access non-existing object member 'inputs': the body is an array"),
        (8, "text", "attempt to access non-existing object member 'inputs': the body is the string 'text'"),
        (9, {"inputs": {}}, "Unable to parse 'inputs': attempt to access JSON non-array as array: got an object"),
        (9, {"inputs": [], "outputs": "o"}, "Unable to parse 'outputs': attempt to access JSON non-array as array"),
        (9, {"inputs": [1]}, "Unable to parse 'inputs': attempt to get members for non-object"),
        (9, {"inputs": [], "outputs": [None]}, "Unable to parse 'outputs': attempt to get members for non-object"),
        (10, {"inputs": [{}]}, "Unable to parse 'name': attempt to access non-existing object member 'name'"),
        (
            10,
            {"inputs": [{"name": "x"}]},
            "Unable to parse 'datatype': attempt to access non-existing object member 'datatype' of input 'x'",
        ),
        (10, {"inputs": [{"name": "x", "datatype": "FP32"}]}, "non-existing object member 'shape' of input 'x'"),
        (10, {"inputs": [{"name": 1}]}, "Unable to parse 'name': attempt to access JSON non-string as string"),
        (10, {"inputs": [], "outputs": [{}]}, "non-existing object member 'name' of an output"),
        *(
            (
                11,
                {"inputs": [binary(shape=[1, dim])]},
                "Unable to parse 'shape': attempt to access JSON non-unsigned-integer as unsigned-integer: got",
            )
            for dim in (-1, 1.5, 4.0, "4", None, True, [4], 1 << 64)
        ),
        (11, {"inputs": [binary(shape=4)]}, "Unable to parse 'shape': attempt to access JSON non-array as array"),
        (
            12,
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4]}]},
            "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
            "'shared_memory_region' in 'parameters'. But no field is set of input 'x' for model 'm'",
        ),
        (12, {"inputs": [{**binary(), "data": []}]}, "But set 'data' 'binary_data_size'"),
        (
            12,
            {"inputs": [{**binary(), "parameters": {"binary_data_size": 1, "shared_memory_region": "r"}}]},
            "But set 'binary_data_size' 'shared_memory_region'",
        ),
        *(
            (
                13,
                {"inputs": [plain(data)]},
                "Unable to parse 'data': Shape does not match true shape of 'data' field: "
                f"got {len(data)} elements, shape [1, 4] has 4 of input 'x'",
            )
            for data in ([], [1, 2, 3], [1, 2, 3, 4, 5])
        ),
        (14, {"inputs": [plain(["1"] * 4)]}, "Unable to parse 'data': attempt to access JSON non-number as double"),
        (14, {"inputs": [plain([None] * 4)]}, "attempt to access JSON non-number as double"),
        (14, {"inputs": [plain([True] * 4)]}, "attempt to access JSON non-number as double"),
        (14, {"inputs": [plain([1.5], "INT32", [1])]}, "attempt to access JSON non-signed-integer as signed-integer"),
        (14, {"inputs": [plain([-1], "UINT8", [1])]}, "JSON non-unsigned-integer as unsigned-integer"),
        (14, {"inputs": [plain([1], "BOOL", [1])]}, "attempt to access JSON non-boolean as boolean"),
        (
            14,
            {"inputs": [plain([1], "BYTES", [1])]},
            "Unable to parse JSON bytes array: attempt to access JSON non-string as string",
        ),
        (14, {"inputs": [plain([300], "UINT8", [1])]}, "Unable to parse 'data': UINT8 doesn't hold this integer"),
        (15, {"inputs": [plain(1)]}, "Unable to parse 'data': attempt to access JSON non-array as array: got the"),
        (15, {"inputs": [plain("abc")]}, "Unable to parse 'data': attempt to access JSON non-array as array"),
        (16, {"inputs": [binary(datatype="FLOAT")]}, "invalid datatype for input x: got 'FLOAT'"),
        (16, {"inputs": [plain([1], datatype="fp32")]}, "invalid datatype for input x"),
        (29, {"inputs": [binary("B", size=20)]}, "unexpected size for input 'B', expecting 4 additional bytes for"),
        (29, {"inputs": [binary("B", size=(1 << 64) - 1)]}, "unexpected size for input 'B', expecting"),
        (30, {"inputs": [binary(size=12)]}, "unexpected additional input data for model 'm'"),
        (30, {"inputs": []}, "unexpected additional input data for model 'm': the body has 16 bytes after its JSON of"),
        *(
            (
                31,
                {"inputs": [binary(size=size)]},
                "Unable to parse 'binary_data_size': attempt to access JSON non-unsigned-integer as unsigned-integer",
            )
            for size in (-16, 16.0, "16", None, True, 1 << 64)
        ),
        (37, {"inputs": [plain([1], shape=[1 << 62, 4])]}, "causes total element count to exceed maximum size of"),
        (37, {"inputs": [plain([1], shape=[10**12])]}, "got 1 elements, shape [1000000000000] has 1000000000000"),
        *(
            (
                38,
                {"inputs": [], "parameters": {"x": value}},
                "parameter 'x' has invalid type. It should be either 'int', 'bool', or 'string'.",
            )
            for value in (None, [], {}, [1])
        ),
        (38, {"inputs": [], "parameters": {"x": 1 << 63}}, "does not fit into a signed 64-bit integer"),
        (
            39,
            {"inputs": [], "parameters": {"triton_x": 1}},
            "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified.",
        ),
        (40, {"inputs": [], "parameters": {"priority": "1"}}, "Unable to parse 'priority': attempt to access JSON"),
        (40, {"inputs": [], "parameters": {"priority": -1}}, "unsigned-integer as unsigned-integer: got the number -1"),
        (40, {"inputs": [], "parameters": {"timeout": 1.5}}, "Unable to parse 'timeout': attempt to access JSON non-"),
        (40, {"inputs": [], "parameters": {"sequence_start": 1}}, "Unable to parse 'sequence_start': attempt to"),
        (40, {"inputs": [], "parameters": {"sequence_end": "no"}}, "non-boolean as boolean: got the string 'no'"),
        (40, {"inputs": [], "parameters": {"sequence_id": True}}, "Unable to parse 'sequence_id': attempt to"),
        (40, {"inputs": [], "parameters": {"sequence_id": 1.0}}, "Unable to parse 'sequence_id': attempt to"),
        (40, {"inputs": [], "parameters": {"binary_data_output": 1}}, "Unable to parse 'binary_data_output'"),
        (40, {"inputs": [], "outputs": [{"name": "o", "parameters": {"binary_data": 1}}]}, "of output 'o'"),
        (41, {"inputs": [], "parameters": []}, "failed to get request params.: attempt to get members for non-object"),
        (41, {"inputs": [], "id": 5}, "Unable to parse 'id': attempt to access JSON non-string as string: got the"),
        (41, {"inputs": [{**binary(), "parameters": 3}]}, "Unable to parse 'parameters': attempt to get members for"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(row: int, document: object, words: str) -> None:
    assert words in refused(document, FLOATS)


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "parameters": {"shared_memory_region": "r"}}]},
        {"inputs": [], "outputs": [{"name": "x", "parameters": {"shared_memory_region": "r"}}]},
    ],
    ids=["input", "output"],
)
def test_a_place_in_shared_memory_without_a_size_has_none(document: dict[str, Any]) -> None:
    extension = given(document).extension
    assert extension is not None
    assert [*extension.inputs.values(), *extension.outputs.values()] == [Part("r", 0, 0)]


PLACE = {"shared_memory_region": "r", "shared_memory_offset": 8, "shared_memory_byte_size": 16}


def test_what_is_asked_beyond_tensors() -> None:
    inputs = [
        {"name": "a", "datatype": "FP32", "shape": [1], "data": [1.0]},
        {"name": "b", "datatype": "FP32", "shape": [4], "parameters": {**PLACE, "own": 1}},
    ]
    outputs = [
        {"name": "x", "parameters": {"classification": 3, "binary_data": True}},
        {"name": "y", "parameters": PLACE},
        {"name": "z", "parameters": {"classification": 0}},
    ]
    for _ in range(2):  # parsed, then remembered
        request = given({"inputs": inputs, "outputs": outputs})
        assert request.extension == Extension({1: Part("r", 8, 16)}, {"y": Part("r", 8, 16)}, {"x": 3})
        assert [bytes(tensor.data) for tensor in request.inputs] == [b"\0\0\x80?", b""]
        assert request.inputs[1].parameters == {"own": 1}
        assert request.outputs is not None
        assert [(each.name, each.binary, each.parameters) for each in request.outputs] == [
            ("x", True, None), ("y", False, None), ("z", False, None),
        ]  # fmt: skip


def test_a_request_without_is_an_ordinary_one() -> None:
    assert given({"inputs": [], "outputs": [{"name": "x"}]}).extension is None


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({**PLACE, "classification": 1}, "Output can't set both 'shared_memory_region' and 'classification'"),
        ({**PLACE, "binary_data": True}, "Output can't set both 'shared_memory_region' and 'binary_data'"),
        ({"classification": -1}, "Unable to parse 'classification'"),
        ({"classification": "3"}, "Unable to parse 'classification'"),
        ({"shared_memory_region": 3}, "Unable to parse 'shared_memory_region'"),
        ({**PLACE, "shared_memory_offset": -1}, "Unable to parse 'shared_memory_offset'"),
        ({**PLACE, "shared_memory_byte_size": 1 << 63}, "Unable to parse 'shared_memory_byte_size'"),
    ],
)
def test_what_an_output_can_not_be(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ServerError, match=words) as caught:
        given({"inputs": [], "outputs": [{"name": "o", "parameters": parameters}]})
    assert caught.value.code is ErrorCode.INVALID_ARG


def test_binary_data_without_a_header_length_is_not_json() -> None:
    body, _ = body_of({"inputs": [binary()]}, FLOATS)
    with pytest.raises(ServerError, match="failed to parse the request JSON buffer"):
        decode(body, None, "m")


def test_a_binary_size_without_binary_data() -> None:
    body, _ = body_of({"inputs": [binary()]})
    with pytest.raises(ServerError, match="unexpected size for input 'x', expecting 16 additional bytes"):
        decode(body, None, "m")


def test_json_has_a_limit_and_binary_data_none() -> None:
    body, length = body_of({"inputs": [binary(shape=[1000], size=4000)], "pad": "x" * 2000}, bytes(4000))
    assert len(decode(body, length, "m", max_json_size=length).inputs[0].data) == 4000
    with pytest.raises(ServerError, match=rf"request JSON of {length} bytes exceeds the maximum allowed {length - 1}"):
        decode(body, length, "m", max_json_size=length - 1)


def test_json_data_may_not_outgrow_the_limit() -> None:
    body, _ = body_of({"inputs": [plain([1] * 100, "FP64", [100])]})
    with pytest.raises(
        ServerError, match=r"exceeds the maximum allowed 400 bytes.*of input 'x'.*--http-max-input-size"
    ):
        decode(body.replace(b" ", b""), None, "m", max_json_size=400)


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"a":' * 200_000, b'{"inputs":[{"data":' + b"[" * 200_000])
def test_depth_is_limited(text: bytes) -> None:
    assert "JSON nesting depth exceeds maximum allowed limit (100)" in refused(text)


def test_a_long_name_does_not_make_a_long_error() -> None:
    assert len(refused({"inputs": [{"name": "x" * 100_000}]})) < 300


@pytest.mark.parametrize(
    "document",
    [
        {"id": "a", "inputs": [binary("A"), plain([1, 2], "INT8", [2])], "outputs": [{"name": "o"}]},
        {"inputs": [plain(["q", "\n"], "BYTES", [2])], "parameters": {"timeout": 3}},
    ],
    ids=["mixed", "json"],
)
def test_a_document_cut_anywhere_is_refused(document: object) -> None:
    text = json.dumps(document).encode()
    for end in range(1, len(text)):
        with pytest.raises(ServerError, match=re.escape("failed to parse the request JSON buffer: ")):
            decode(text[:end], end, "m")
