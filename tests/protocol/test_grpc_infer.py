"""The gRPC codec of inference, against the messages that protobuf's own library makes and reads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.core import bytes as byte_strings
from pyserver.errors import ErrorCode, ServerError
from pyserver.proto import inference as pb
from pyserver.protocol import grpc_infer
from pyserver.types import (
    SEQUENCE_END,
    SEQUENCE_START,
    Extension,
    InferRequest,
    InferResponse,
    Part,
    RequestedOutput,
    Tensor,
)  # fmt: skip

DTYPES = {
    "BOOL": np.bool_, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "UINT8": np.uint8,
    "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "FP16": np.float16, "FP32": np.float32,
    "FP64": np.float64, "BF16": np.uint16,
}  # fmt: skip


def message(inputs=(), raw=(), **fields):
    made = pb.ModelInferRequest(model_name="m", **fields)
    for name, datatype, shape in inputs:
        made.inputs.add(name=name, datatype=datatype, shape=shape)
    made.raw_input_contents.extend(raw)
    return made


def decode(made):
    return grpc_infer.decode(made.SerializeToString())


def refusal(made):
    with pytest.raises(grpc_infer.BadRequestError) as raised:
        decode(made)
    assert (raised.value.id, raised.value.model_name) == (made.id, "m")
    return raised.value.code, raised.value.message


def outcome(data):
    """The code of the refusal of `data`, None if it is a request."""
    try:
        grpc_infer.decode(data)
    except ServerError as error:
        return error.code
    return None


names = st.text(st.characters(codec="utf-8"), max_size=6)
parameters = st.dictionaries(
    names.filter(lambda key: not key.startswith("triton_")),
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    max_size=3,
)


@st.composite
def tensors(draw):
    datatype = draw(st.sampled_from([*DTYPES, "BYTES"]))
    shape = tuple(draw(st.lists(st.integers(0, 300), max_size=3).filter(lambda dims: np.prod(dims, dtype=int) < 2000)))
    count = int(np.prod(shape, dtype=int))
    if datatype == "BYTES":
        data = byte_strings.pack([draw(st.binary(max_size=3))] * count)
    else:
        data = draw(st.binary(min_size=1, max_size=8)) * (count * 8)
        data = data[: count * np.dtype(DTYPES[datatype]).itemsize]
    return datatype, shape, data, draw(st.none() | parameters)


def set_parameters(target, values):
    for key, value in (values or {}).items():
        kind = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
        setattr(target[key], kind, value)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(names, tensors(), max_size=3), st.dictionaries(names, st.none() | parameters, max_size=3),
    parameters, names, names,
)  # fmt: skip
def test_sound_requests(inputs, outputs, custom, id, version):
    reserved = {"sequence_start", "sequence_end", "sequence_id", "priority", "timeout"}
    custom = {key: value for key, value in custom.items() if key not in reserved}
    made = pb.ModelInferRequest(model_name="m", model_version=version, id=id)
    set_parameters(made.parameters, custom)
    for name, (datatype, shape, data, own) in inputs.items():
        set_parameters(made.inputs.add(name=name, datatype=datatype, shape=shape).parameters, own)
        made.raw_input_contents.append(data)
    for name, own in outputs.items():
        set_parameters(made.outputs.add(name=name).parameters, own)
    assert decode(made) == InferRequest(
        model_name="m", model_version=version, id=id, binary_output=bool(inputs), parameters=custom,
        inputs=[Tensor(name, kind, shape, data, own or None) for name, (kind, shape, data, own) in inputs.items()],
        outputs=[RequestedOutput(name, True, own or None) for name, own in outputs.items()] or None,
    )  # fmt: skip


def test_large_inputs_are_views_of_what_was_received():
    data = message([("X", "UINT8", [5000])], [bytes(5000)]).SerializeToString()
    (tensor,) = grpc_infer.decode(data).inputs
    assert isinstance(tensor.data, memoryview)
    assert tensor.data.obj is data


def test_a_request_cut_anywhere_is_refused_or_sound():
    whole = message(
        [("X", "FP32", [2]), ("Y", "BYTES", [2])], [bytes(8), byte_strings.pack([b"a", b"bc"])], id="1"
    ).SerializeToString()  # fmt: skip
    for size in range(len(whole)):
        assert outcome(whole[:size]) in (None, ErrorCode.INVALID_ARG)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_sound(data):
    assert outcome(data) in (None, ErrorCode.INVALID_ARG, ErrorCode.NOT_FOUND, ErrorCode.UNSUPPORTED)


def typed(datatype, shape, **contents):
    made = message([("X", datatype, shape)])
    made.inputs[0].contents.MergeFrom(pb.InferTensorContents(**contents))
    return made


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]), ("INT8", "int_contents", [-128, 127]),
        ("INT16", "int_contents", [-(2**15), 1]), ("INT32", "int_contents", [-(2**31), 2**31 - 1]),
        ("INT64", "int64_contents", [-(2**63), 5]), ("UINT8", "uint_contents", [0, 255]),
        ("UINT16", "uint_contents", [0, 65535]), ("UINT32", "uint_contents", [0, 2**32 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]), ("FP32", "fp32_contents", [0.5, -1.25]),
        ("FP64", "fp64_contents", [0.1, -1e300]),
    ],
)  # fmt: skip
def test_typed_contents(datatype, field, values):
    (tensor,) = decode(typed(datatype, [2], **{field: values})).inputs
    assert bytes(tensor.data) == np.array(values, DTYPES[datatype]).tobytes()


def test_typed_bytes():
    (tensor,) = decode(typed("BYTES", [2], bytes_contents=[b"", b"ab"])).inputs
    assert bytes(tensor.data) == byte_strings.pack([b"", b"ab"])


def with_parameters(**values):
    made = message()
    for key, (kind, value) in values.items():
        setattr(made.parameters[key], kind, value)
    return made


def test_reserved_parameters():
    request = decode(
        with_parameters(
            sequence_id=("int64_param", 7), sequence_start=("bool_param", True), sequence_end=("bool_param", True),
            priority=("uint64_param", 2), timeout=("int64_param", 5),
            triton_enable_empty_final_response=("bool_param", True),
        )
    )  # fmt: skip
    assert (request.correlation_id, request.flags) == (7, SEQUENCE_START | SEQUENCE_END)
    assert (request.priority, request.timeout_us, request.parameters) == (2, 5, {})
    assert decode(with_parameters(sequence_start=("bool_param", False))).flags == 0
    assert decode(with_parameters(sequence_id=("string_param", "s" * 128))).correlation_id == "s" * 128
    assert decode(with_parameters(sequence_id=("int64_param", -1))).correlation_id == 2**64 - 1


UNSET = pb.ModelInferRequest(model_name="m", id="7", parameters={"dd": pb.InferParameter()})


def output(**parameters):
    made = message(id="7")
    set_parameters(made.outputs.add(name="O").parameters, parameters)
    return made


PLACE = {"shared_memory_region": "r", "shared_memory_offset": 8, "shared_memory_byte_size": 16}


def shared_input(**parameters):
    made = message([("X", "FP32", [1])])
    set_parameters(made.inputs[0].parameters, parameters)
    return made


def typed_and_shared():
    made = typed("FP32", [1], fp32_contents=[1.0])
    set_parameters(made.inputs[0].parameters, PLACE)
    return made


def test_what_is_asked_beyond_tensors():
    made = message([("A", "UINT8", [1]), ("B", "UINT8", [1]), ("C", "UINT8", [1])], [b"a", b"c"])
    set_parameters(made.inputs[1].parameters, {**PLACE, "own": 1})
    set_parameters(made.outputs.add(name="X").parameters, {"classification": 3})
    set_parameters(made.outputs.add(name="Y").parameters, PLACE)
    set_parameters(made.outputs.add(name="X").parameters, PLACE)
    request = decode(made)
    part = Part("r", 8, 16)
    assert request.extension == Extension({1: part}, {"Y": part}, {"X": 3})
    # An input in shared memory takes none of the raw contents.
    assert [bytes(tensor.data) for tensor in request.inputs] == [b"a", b"", b"c"]
    assert request.inputs[1].parameters == {"own": 1}
    assert [(each.name, each.parameters) for each in request.outputs] == [("X", None), ("Y", None)]
    assert decode(message([("A", "UINT8", [1])], [b"a"])).extension is None


def test_contents_beside_raw_contents():
    made = typed("FP32", [1], fp32_contents=[1.0])
    made.raw_input_contents.append(bytes(4))
    assert (
        "contents field must not be specified when using raw_input_contents for 'X' for model 'm'" in refusal(made)[1]
    )


@pytest.mark.parametrize(
    ("made", "code", "text"),
    [
        (
            with_parameters(sequence_id=("string_param", "s" * 129)),
            ErrorCode.UNSUPPORTED,
            "string correlation ID cannot be longer than 128 characters",
        ),
        (output(classification=-3), ErrorCode.INVALID_ARG, "parameter 'classification' of output 'O' is -3"),
        (output(classification="3"), ErrorCode.INVALID_ARG, "'classification' parameter, expected int64_param"),
        (output(shared_memory_region=3), ErrorCode.INVALID_ARG, "'shared_memory_region' parameter, expected string"),
        (
            output(shared_memory_region="r", classification=1),
            ErrorCode.INVALID_ARG,
            "Output can't set both 'shared_memory_region' and 'classification'",
        ),
        (
            shared_input(shared_memory_region="r", shared_memory_offset="0"),
            ErrorCode.INVALID_ARG,
            "'shared_memory_offset' parameter, expected int64_param",
        ),
        (
            typed_and_shared(),
            ErrorCode.INVALID_ARG,
            "unexpected 'content' provided when using shared memory for input tensor 'X' for model 'm'",
        ),
    ],
)
def test_what_is_not_here(made, code, text):
    found = refusal(made)
    assert found[0] is code
    assert text in found[1]


def test_what_triton_lets_pass():
    request = decode(message([("X", "UINT8", [1])], [b"a", b"one too many"]))
    assert bytes(request.inputs[0].data) == b"a"
    negative = decode(message([("X", "FP32", [-1])], [bytes(4)]))  # for the model's signature to refuse
    assert negative.inputs[0].shape == (-1,)
    twice = message()
    set_parameters(twice.outputs.add(name="O").parameters, {"binary_data": False})
    twice.outputs.add(name="O")
    assert decode(twice).outputs == [RequestedOutput("O", True, {"binary_data": False})]


responses = st.builds(
    InferResponse,
    names, names, names,
    st.lists(st.builds(lambda name, made: Tensor(name, *made), names.filter(bool), tensors()), max_size=3),
    st.none() | parameters,
)  # fmt: skip


def read_parameters(given):
    return {key: getattr(value, value.WhichOneof("parameter_choice")) for key, value in given.items()}


def check_response(found, response, parameters):
    assert (found.model_name, found.model_version, found.id) == (
        response.model_name,
        response.model_version,
        response.id,
    )
    assert read_parameters(found.parameters) == parameters
    assert list(found.raw_output_contents) == [bytes(output.data) for output in response.outputs]
    for made, output in zip(found.outputs, response.outputs, strict=True):
        assert (made.name, made.datatype, tuple(made.shape)) == (output.name, output.datatype, output.shape)
        assert read_parameters(made.parameters) == (output.parameters or {})
        assert not made.HasField("contents")


@settings(max_examples=100, deadline=None)
@given(responses)
def test_responses(response):
    found = pb.ModelInferResponse.FromString(grpc_infer.encode(response))
    check_response(found, response, response.parameters or {})


@settings(max_examples=50, deadline=None)
@given(responses, st.booleans())
def test_streamed_responses(response, final):
    found = pb.ModelStreamInferResponse.FromString(grpc_infer.encode_stream(response, final))
    assert not found.error_message
    expected = {**(response.parameters or {}), "triton_final_response": final}
    check_response(found.infer_response, response, expected)


def test_streamed_errors():
    error = ServerError(ErrorCode.INTERNAL, "écrit")
    found = pb.ModelStreamInferResponse.FromString(grpc_infer.encode_stream_error(error, "7"))
    assert found == pb.ModelStreamInferResponse(error_message="écrit", infer_response=pb.ModelInferResponse(id="7"))
    found = pb.ModelStreamInferResponse.FromString(grpc_infer.encode_stream_error(error, "", ("m", "2")))
    assert (found.infer_response.model_name, found.infer_response.model_version) == ("m", "2")
    assert found.infer_response.parameters["triton_final_response"].bool_param
    assert found.error_message == "écrit"
    empty = pb.ModelStreamInferResponse.FromString(grpc_infer.encode_stream_error(error, ""))
    assert empty.HasField("infer_response")
