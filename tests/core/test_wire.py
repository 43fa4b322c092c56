"""ModelInferRequest and ModelInferResponse against protobuf's own implementation of the same messages."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.core import tensor, wire
from pyserver.core.bytes import pack, unpack

PROPERTY = settings(max_examples=150, deadline=None, derandomize=True, database=None)
F = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "string": F.TYPE_STRING, "bytes": F.TYPE_BYTES, "bool": F.TYPE_BOOL, "int32": F.TYPE_INT32, "int64": F.TYPE_INT64,
    "uint32": F.TYPE_UINT32, "uint64": F.TYPE_UINT64, "float": F.TYPE_FLOAT, "double": F.TYPE_DOUBLE,
}  # fmt: skip
CONTENTS = {
    "bool_contents": ("bool", "BOOL"), "int_contents": ("int32", "INT32"), "int64_contents": ("int64", "INT64"),
    "uint_contents": ("uint32", "UINT32"), "uint64_contents": ("uint64", "UINT64"), "fp32_contents": ("float", "FP32"),
    "fp64_contents": ("double", "FP64"), "bytes_contents": ("bytes", "BYTES"),
}  # fmt: skip


def add_message(file: Any, name: str, fields: dict[str, str], oneof: str | None = None) -> None:
    """Fields are numbered in order; their types are a scalar's name or a message's, `*` for repeated, `map`."""
    message = file.message_type.add(name=name)
    if oneof:
        message.oneof_decl.add(name=oneof)
    for number, (field_name, kind) in enumerate(fields.items(), 1):
        field = message.field.add(name=field_name, number=number, label=F.LABEL_OPTIONAL)
        if kind == "map":
            entry = message.nested_type.add(name=field_name.title().replace("_", "") + "Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=F.LABEL_OPTIONAL, type=F.TYPE_STRING)
            entry.field.add(
                name="value", number=2, label=F.LABEL_OPTIONAL, type=F.TYPE_MESSAGE, type_name=".test.InferParameter"
            )
            kind = f"*{name}.{entry.name}"
        if kind.startswith("*"):
            field.label, kind = F.LABEL_REPEATED, kind[1:]
        if kind in SCALARS:
            field.type = SCALARS[kind]
        else:
            field.type, field.type_name = F.TYPE_MESSAGE, f".test.{kind}"
        if oneof:
            field.oneof_index = 0


def messages() -> dict[str, type[Message]]:
    """The messages of spec 2.2, in a pool of their own."""
    file = descriptor_pb2.FileDescriptorProto(name="test.proto", package="test", syntax="proto3")
    choices = {"bool_param": "bool", "int64_param": "int64", "string_param": "string"}
    add_message(file, "InferParameter", choices | {"double_param": "double", "uint64_param": "uint64"}, "choice")
    add_message(file, "Contents", {name: f"*{kind}" for name, (kind, _) in CONTENTS.items()})
    head = {"name": "string", "datatype": "string", "shape": "*int64", "parameters": "map", "contents": "Contents"}
    add_message(file, "Tensor", head)
    add_message(file, "RequestedOutput", {"name": "string", "parameters": "map"})
    top = {"model_name": "string", "model_version": "string", "id": "string", "parameters": "map"}
    inputs = {"inputs": "*Tensor", "outputs": "*RequestedOutput", "raw_input_contents": "*bytes"}
    add_message(file, "Request", top | inputs)
    add_message(file, "Response", top | {"outputs": "*Tensor", "raw_output_contents": "*bytes"})
    add_message(file, "StreamResponse", {"error_message": "string", "infer_response": "Response"})
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{message.name}"))
        for message in file.message_type
    }


MESSAGES = messages()
NAMES = st.text(max_size=8)
INT64 = st.integers(-(2**63), 2**63 - 1)
PARAMETERS = st.dictionaries(
    NAMES, st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | NAMES, max_size=3
)
RAW = st.lists(st.binary(max_size=20) | st.just(bytes(range(256)) * 3), max_size=3)
TENSORS = st.lists(st.tuples(NAMES, NAMES, st.lists(INT64, max_size=4), st.none() | PARAMETERS), max_size=3)
OUTPUTS = st.lists(st.tuples(NAMES, st.none() | PARAMETERS), max_size=3)
ELEMENTS = {
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": INT64,
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=9),
}


def set_parameters(field: Any, parameters: dict[str, Any] | None) -> None:
    for key, value in (parameters or {}).items():
        if isinstance(value, bool):
            field[key].bool_param = value
        elif isinstance(value, int):
            setattr(field[key], "int64_param" if value < 2**63 else "uint64_param", value)
        else:
            setattr(field[key], "double_param" if isinstance(value, float) else "string_param", value)


def get_parameters(field: Any) -> dict[str, Any]:
    kinds = {key: value.WhichOneof("choice") for key, value in field.items()}
    return {key: getattr(field[key], kind) if kind else None for key, kind in kinds.items()}


def plain(message: Any, kind: str) -> Any:
    """What `decode_request` or `decode_response` should make of a message."""
    head = (message.model_name, message.model_version, message.id, get_parameters(message.parameters))
    tensors = message.inputs if kind == "Request" else message.outputs
    plain_tensors = [
        (
            each.name,
            each.datatype,
            tuple(each.shape),
            get_parameters(each.parameters) or None,
            plain_contents(each.contents) if each.HasField("contents") else None,
        )
        for each in tensors
    ]
    if kind == "Response":
        return *head, plain_tensors, list(message.raw_output_contents)
    outputs = [(each.name, get_parameters(each.parameters) or None) for each in message.outputs]
    return *head, plain_tensors, outputs, list(message.raw_input_contents)


def plain_contents(contents: Any) -> tuple[str, int, bytes]:
    for name, (_, datatype) in CONTENTS.items():
        values = list(getattr(contents, name))
        if values:
            raw = pack(values) if datatype == "BYTES" else np.array(values, tensor.numpy_dtype(datatype)).tobytes()
            return datatype, len(values), raw
    return "", 0, b""


def decoded(data: Any, kind: str) -> Any:
    found: Any = wire.decode_request(data) if kind == "Request" else wire.decode_response(data)
    tensors = [
        (*rest, None if contents is None else (contents.datatype, contents.count, contents.buffer))
        for *rest, contents in (found.inputs if kind == "Request" else found.outputs)
    ]
    head = (found.model_name, found.model_version, found.id, found.parameters, tensors)
    return (*head, found.outputs, found.raw) if kind == "Request" else (*head, found.raw)


@given(NAMES, NAMES, NAMES, PARAMETERS, TENSORS, OUTPUTS, RAW)
@PROPERTY
def test_requests(name: str, version: str, id: str, parameters: Any, inputs: Any, outputs: Any, raw: Any) -> None:
    message: Any = MESSAGES["Request"](model_name=name, model_version=version, id=id, raw_input_contents=raw)
    set_parameters(message.parameters, parameters)
    for input_name, datatype, shape, given_parameters in inputs:
        set_parameters(message.inputs.add(name=input_name, datatype=datatype, shape=shape).parameters, given_parameters)
    for output_name, given_parameters in outputs:
        set_parameters(message.outputs.add(name=output_name).parameters, given_parameters)
    assert decoded(message.SerializeToString(), "Request") == plain(message, "Request")
    encoded = wire.encode_request(name, version, id, parameters, inputs, outputs, raw)
    assert MESSAGES["Request"].FromString(encoded) == message
    assert list(wire.decode_request(encoded).parameters.items()) == list(parameters.items())


@given(NAMES, NAMES, NAMES, st.none() | PARAMETERS, TENSORS, RAW)
@PROPERTY
def test_responses(name: str, version: str, id: str, parameters: Any, outputs: Any, raw: Any) -> None:
    message: Any = MESSAGES["Response"](model_name=name, model_version=version, id=id, raw_output_contents=raw)
    set_parameters(message.parameters, parameters)
    for output_name, datatype, shape, given_parameters in outputs:
        set_parameters(
            message.outputs.add(name=output_name, datatype=datatype, shape=shape).parameters, given_parameters
        )
    assert decoded(message.SerializeToString(), "Response") == plain(message, "Response")
    views = [memoryview(bytearray(part)) for part in raw]
    assert (
        MESSAGES["Response"].FromString(wire.encode_response(name, version, id, parameters, outputs, views)) == message
    )
    streamed = MESSAGES["StreamResponse"].FromString(
        wire.encode_response(name, version, id, parameters, outputs, raw, True)
    )
    assert streamed == MESSAGES["StreamResponse"](infer_response=message)


@pytest.mark.parametrize("field", CONTENTS)
@given(st.data())
@PROPERTY
def test_typed_contents(field: str, data: st.DataObject) -> None:
    message: Any = MESSAGES["Request"]()
    for _ in range(data.draw(st.integers(1, 2))):
        values = data.draw(st.lists(ELEMENTS[CONTENTS[field][0]], max_size=10))
        getattr(message.inputs.add(name="x").contents, field).extend(values)
        message.inputs[-1].contents.SetInParent()
    assert decoded(message.SerializeToString(), "Request") == plain(message, "Request")


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    low = bytes([value & 127 | (128 if value > 127 else 0)])
    return low + varint(value >> 7) if value > 127 else low


def field(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def with_contents(body: bytes) -> bytes:
    return field(5, field(5, body))


def test_lists_packed_unpacked_and_both() -> None:
    unpacked = {
        1: b"".join(b"\x08" + varint(value) for value in (1, 0, 300)),
        2: b"".join(b"\x10" + varint(value) for value in (-1, 5, 2**40 + 3)),
        4: b"\x20\x07\x20\xff\xff\xff\xff\x0f",
        6: b"\x35" + struct.pack("<f", 1.5) + b"\x35" + struct.pack("<f", -2),
        7: b"\x39" + struct.pack("<d", 1.5),
    }
    packed = {1: field(1, b"\1\0"), 2: field(2, varint(-7) + b"\6"), 4: field(4, b"\1"), 6: field(6, bytes(8))}
    for number, body in unpacked.items():
        for mixed in (body, body + packed.get(number, b""), packed.get(number, b"") * 2 + body):
            data = with_contents(mixed)
            assert decoded(data, "Request") == plain(MESSAGES["Request"].FromString(data), "Request")
    # The same field twice: its messages are one.
    data = field(5, field(5, packed[2]) + field(5, unpacked[2]))
    assert decoded(data, "Request") == plain(MESSAGES["Request"].FromString(data), "Request")
    data = field(5, b"\x18\x02" + field(3, b"\x03" + varint(-1)) + b"\x18\x04")
    assert wire.decode_request(data).inputs[0][2] == (2, 3, -1, 4)


def test_contents_as_a_datatype() -> None:
    def contents(body: bytes) -> wire.Contents:
        found = wire.decode_request(with_contents(body)).inputs[0][4]
        assert found is not None
        return found

    signed = contents(field(2, varint(-128) + varint(127)))
    assert [name for name in tensor.DATATYPES if signed.fits(name)] == ["INT8", "INT16", "INT32"]
    assert signed.raw("INT8") == b"\x80\x7f"
    assert signed.raw("INT16") == b"\x80\xff\x7f\x00"
    assert signed.raw("INT32") == signed.buffer == b"\x80\xff\xff\xff\x7f\0\0\0"
    with pytest.raises(ValueError, match="contents hold elements of INT32, expected FP32"):
        signed.raw("FP32")
    with pytest.raises(ValueError, match="element 1 is 32768, out of the range of INT16"):
        contents(field(2, b"\1" + varint(2**15))).raw("INT16")
    with pytest.raises(ValueError, match="element 0 is -129, out of the range of INT8"):
        contents(field(2, varint(-129))).raw("INT8")
    unsigned = contents(field(4, varint(255) + varint(65535)))
    assert [name for name in tensor.DATATYPES if unsigned.fits(name)] == ["UINT8", "UINT16", "UINT32"]
    assert unsigned.raw("UINT16") == b"\xff\0\xff\xff"
    with pytest.raises(ValueError, match="element 1 is 65535, out of the range of UINT8"):
        unsigned.raw("UINT8")
    strings = contents(field(8, b"ab") + field(8, b""))
    assert unpack(strings.raw("BYTES"), strings.count) == [b"ab", b""]
    empty = contents(b"")
    assert all(empty.fits(name) and empty.raw(name) == b"" for name in tensor.DATATYPES)
    with pytest.raises(wire.WireError, match="contents hold elements of INT32 and of FP32"):
        contents(field(2, b"\1") + field(6, bytes(4)))


HEAD = wire.encode_request(
    "model\u00e9",
    "3",
    "id-1",
    {"a": True, "b": -5, "c": "x", "d": 1.5, "e": 2**64 - 1},
    [("IN", "FP32", (1, 300), {"k": 1}), ("TEXT", "BYTES", (), None)],
    [("OUT", {"classification": 3})],
    [bytes(30), b""],
)
LISTS = (field(2, varint(-1) + b"\1"), field(8, b"xyz"), b"\x39" + bytes(8))
SAMPLE = HEAD + b"".join(map(with_contents, LISTS))


def test_cut_anywhere() -> None:
    whole = wire.decode_request(SAMPLE)
    assert decoded(SAMPLE, "Request") == plain(MESSAGES["Request"].FromString(SAMPLE), "Request")
    complete = 0
    for cut in range(len(SAMPLE)):
        data = bytes(bytearray(SAMPLE[:cut]))
        try:
            expected = plain(MESSAGES["Request"].FromString(data), "Request")
        except DecodeError:
            with pytest.raises(ValueError, match="at byte"):
                wire.decode_request(data)
        else:
            complete += 1
            assert decoded(data, "Request") == expected
    assert complete > 5
    assert whole.parameters == {"a": True, "b": -5, "c": "x", "d": 1.5, "e": 2**64 - 1}


@given(st.data())
@settings(PROPERTY, max_examples=500)
def test_with_an_accident(data: st.DataObject) -> None:
    """What we take, protobuf takes for the same; it takes more: see fields.pyx."""
    body = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        found = decoded(bytes(body), "Request")
    except ValueError:
        return
    assert agree(found, plain(MESSAGES["Request"].FromString(bytes(body)), "Request"))


def agree(found: Any, expected: Any) -> bool:
    """Equal, NaN to NaN; protobuf's own parser drops map entries that have unknown fields."""
    if isinstance(expected, float):
        return isinstance(found, float) and struct.pack("d", found) == struct.pack("d", expected)
    if isinstance(found, dict):
        return all(key in found and agree(found[key], value) for key, value in (expected or {}).items())
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(agree, found, expected))
    return bool(found == expected)


@given(st.binary(max_size=60))
@settings(PROPERTY, max_examples=500)
def test_any_bytes(data: bytes) -> None:
    for function in (wire.decode_request, wire.decode_response):
        try:
            function(data)
        except wire.WireError as error:
            offset = error.offset
        else:
            offset = 0
        assert 0 <= offset <= len(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x80", "varint is cut at byte 0"),
        (b"\x0a\x05abc", "length is 5, but only 3 bytes are left at byte 1"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "length is 18446744073709551615"),
        (b"\x0a" + b"\xff" * 9 + b"\x02", "varint of more than 64 bits at byte 1"),
        (b"\x0a" + b"\x80" * 20, "varint of more than 64 bits at byte 1"),
        (b"\x00", "field number is 0"),
        (b"\x02\x00", "field number is 0"),
        (varint(2**35), "field number is 4294967296"),
        (b"\x08\x01", "field 1 has wire type 0"),
        (b"\x3d1234", "field 7 has wire type 5"),
        (b"\x0b\x0c", "field 1 has wire type 3"),
        (b"\x83\x01\x84\x01", "field 16 has wire type 3, expected 0, 1, 2 or 5"),
        (b"\x0a\x02\xc3\x28", "string isn't UTF-8 at byte 2"),
        (b"\x0a\x03\xed\xa0\x80", "string isn't UTF-8 at byte 2"),
        (field(5, b"\x1a\x02\x01\x80"), "varint is cut"),
        (field(5, field(3, b"\1" * 257)), "shape has more than 256 dimensions"),
        (field(5, b"\x18\x01" * 257), "shape has more than 256 dimensions"),
        (with_contents(field(6, b"123")), "packed list of FP32 has 3 bytes"),
        (with_contents(field(2, b"\x80\x80")), "varint is cut"),
        (with_contents(b"\x0d1234"), "field 1 has wire type 5"),
        (with_contents(b"\x41" + bytes(8)), "field 8 has wire type 1"),
        (field(7, b"") * 100_001, "more tensors, parameters and contents than a message may have"),
    ],
)
def test_errors_say_where(data: bytes, text: str) -> None:
    with pytest.raises(wire.WireError, match=text):
        wire.decode_request(data)


def test_unknown_fields_are_skipped() -> None:
    unknown = varint(99 << 3) + varint(2**63) + field(100, b"abc") + varint(101 << 3 | 1) + bytes(8) + b"\x85\x01abcd"
    data = unknown + field(1, b"m") + field(5, unknown + field(1, b"x") + field(5, unknown)) + field(6, unknown)
    data += field(4, field(1, b"k") + field(2, unknown + b"\x08\x01"))
    assert decoded(data, "Request") == plain(MESSAGES["Request"].FromString(data), "Request")
    # Here protobuf's own parser drops the whole entry.
    assert wire.decode_request(field(4, field(1, b"k") + unknown)).parameters == {"k": None}


def test_parameters_at_their_edges() -> None:
    for body in (
        b"",
        field(1, b"k"),
        field(2, b""),
        field(2, b"\x08\x01\x10\x05"),
        field(2, b"\x08\x01") + field(2, b""),
    ):
        data = field(4, body)
        assert decoded(data, "Request") == plain(MESSAGES["Request"].FromString(data), "Request")


def test_what_no_parameter_holds() -> None:
    for value in (None, [1], b"x", 2**64, -(2**63) - 1):
        with pytest.raises((ValueError, OverflowError), match="parameter 'p'"):
            wire.encode_response("m", "1", "", {"p": value}, [], [])  # type: ignore[dict-item]
    with pytest.raises(UnicodeEncodeError):
        wire.encode_response("\ud800", "1", "", None, [], [])


def test_raw_contents_are_not_copied() -> None:
    data = wire.encode_request("m", "", "", None, [], [], [bytes(10_000), b"small"])
    for whole in (data, memoryview(bytearray(data)), bytearray(data)):
        large, small = wire.decode_request(whole).raw
        assert type(large) is memoryview
        assert tensor.address(large) - tensor.address(whole) == data.index(bytes(10_000))
        assert bytes(small) == b"small"


def test_buffers_that_change_while_they_are_encoded() -> None:
    class Growing(list[Any]):
        def __iter__(self) -> Any:
            self.append(bytes(100))
            return super().__iter__()

    with pytest.raises(ValueError, match="has changed meanwhile"):
        wire.encode_response("m", "1", "", None, [], Growing())
