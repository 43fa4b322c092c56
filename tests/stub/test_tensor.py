"""Tensors, requests and responses without a process: spec 4.4 to 4.6 and 4.11."""

import numpy as np
import pytest

from pyserver.stub import lookup
from pyserver.stub.dtypes import numpy_to_triton_type, triton_string_to_numpy, triton_to_numpy_type
from pyserver.stub.exceptions import TritonModelException
from pyserver.stub.request import InferenceRequest
from pyserver.stub.response import InferenceResponse, TritonError
from pyserver.stub.tensor import InputTensor, Tensor, input_spec

NUMERIC = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]


def test_a_tensor_refers_to_its_array() -> None:
    array = np.zeros((2, 3), "f4")
    tensor = Tensor("x", array)
    assert tensor.as_numpy() is array
    assert (tensor.name(), tensor.shape(), tensor.triton_dtype(), tensor.is_cpu()) == ("x", [2, 3], 11, True)


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3).T, np.arange(6.0)[::2]], ids=["fortran", "strided"])
def test_what_is_not_row_major_is_copied(array) -> None:
    tensor = Tensor("x", array)
    assert tensor.as_numpy().flags.c_contiguous
    assert tensor.as_numpy().tolist() == array.tolist()


@pytest.mark.parametrize("arguments", [("x", [1]), ("x", np.float32(1)), (3, np.zeros(1)), (None, np.zeros(1))])
def test_other_types(arguments) -> None:
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        Tensor(*arguments)


def test_positional_only() -> None:
    with pytest.raises(TypeError):
        Tensor(name="x", array=np.zeros(1))  # type: ignore[call-arg]


def test_no_name() -> None:
    with pytest.raises(TritonModelException, match=r"^Tensor name cannot be an empty string\.$"):
        Tensor("", np.zeros(1))


@pytest.mark.parametrize("dtype", [">f4", ">i8", "c8", "M8[s]", "V4", [("a", "f4")]], ids=str)
def test_dtypes_that_the_protocol_has_not(dtype) -> None:
    with pytest.raises(TritonModelException, match=r"^NumPy dtype is not supported\. Tensor 'x' has dtype"):
        Tensor("x", np.zeros(2, dtype))


@pytest.mark.parametrize("array", [np.array(["é"]), np.array([b"\xc3\xa9"]), np.array(["é"], object)], ids="USO")
def test_strings_of_all_kinds(array) -> None:
    tensor = Tensor("x", array)
    assert tensor.as_numpy() is array
    assert tensor._packed() == (("x", "BYTES", (1,)), b"\x02\0\0\0\xc3\xa9", 6)


def test_no_dims() -> None:
    assert Tensor("x", np.array(1.5)).shape() == []


def arena_input(datatype: str, shape: tuple[int, ...], data: bytes) -> InputTensor:
    return InputTensor(input_spec(("x", datatype, shape)), memoryview(bytearray(64) + data), 64, len(data))


def test_an_input_is_a_view() -> None:
    memory = memoryview(bytearray(128))
    tensor = InputTensor(input_spec(("x", "INT32", (2, 2))), memory, 64, 16)
    array = tensor.as_numpy()
    array[1, 1] = 7
    assert memory[76] == 7
    assert not array.flags.owndata
    assert tensor.as_numpy() is array
    assert isinstance(tensor, Tensor)


def test_an_input_of_strings() -> None:
    tensor = arena_input("BYTES", (1, 2), b"\1\0\0\0a\2\0\0\0b\0")
    assert tensor.shape() == [1, 2]
    assert tensor._packed()[0] == ("x", "BYTES", (1, 2))
    assert bytes(tensor._packed()[1]) == b"\1\0\0\0a\2\0\0\0b\0"
    assert tensor.as_numpy().tolist() == [[b"a", b"b\0"]]


def test_bf16_has_no_array() -> None:
    tensor = arena_input("BF16", (2,), b"\x80\x3f\0\x40")
    with pytest.raises(TritonModelException, match=r"tensor 'x' is BF16.*from_dlpack"):
        tensor.as_numpy()
    assert tensor.shape() == [2]
    passed_on = Tensor.from_dlpack("y", tensor)
    spec, data, size = passed_on._packed()
    assert (spec, data.tobytes(), size) == (("y", "BF16", (2,)), b"\x80\x3f\0\x40", 4)
    with pytest.raises(TritonModelException, match="tensor 'y' is BF16"):
        passed_on.as_numpy()


@pytest.mark.parametrize("dtype", NUMERIC)
def test_dlpack_there_and_back(dtype) -> None:
    array = np.ones((2, 3), dtype)
    tensor = Tensor("x", array)
    assert tensor.__dlpack_device__() == (1, 0)
    for source in (tensor, tensor.to_dlpack(), array):
        back = Tensor.from_dlpack("y", source)
        assert back.as_numpy().dtype == array.dtype
        assert back.as_numpy().tolist() == array.tolist()
    assert np.from_dlpack(tensor).tolist() == array.tolist()


def test_dlpack_of_a_frozen_array() -> None:
    array = np.ones(3)
    array.flags.writeable = False
    assert Tensor.from_dlpack("y", Tensor("x", array)).as_numpy().tolist() == [1, 1, 1]


def test_dlpack_refusals() -> None:
    with pytest.raises(TritonModelException, match=r"^DLPack does not have support for string tensors\.$"):
        Tensor("x", np.array([b"a"], object)).to_dlpack()
    with pytest.raises(TritonModelException, match="DLPack tensor is not contiguous"):
        Tensor.from_dlpack("x", np.zeros((3, 2), "f4").T.__dlpack__())
    with pytest.raises(TritonModelException, match="expected a DLPack capsule"):
        Tensor.from_dlpack("x", 3)

    class Elsewhere:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

    with pytest.raises(TritonModelException, match="CPU memory"):
        Tensor.from_dlpack("x", Elsewhere())


def test_responses() -> None:
    tensor = Tensor("x", np.zeros(1))
    response = InferenceResponse((tensor,), parameters={"a": 1})
    assert response.output_tensors() == [tensor]
    assert (response.has_error(), response.error(), response.parameters()) == (False, None, '{"a":1}')
    error = TritonError("no", TritonError.NOT_FOUND)
    failed = InferenceResponse([], error)
    assert (failed.has_error(), failed.error()) == (True, error)
    assert (error.message(), error.code(), int(error.code())) == ("no", TritonError.NOT_FOUND, 2)
    assert TritonError("no").code() == TritonError.INTERNAL


@pytest.mark.parametrize("arguments", [([1],), (None,), (np.zeros(2),), ([], "no"), ("x",)])
def test_responses_of_other_types(arguments) -> None:
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        InferenceResponse(*arguments)


@pytest.mark.parametrize("arguments", [("x", 3), (3,)])
def test_errors_of_other_types(arguments) -> None:
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        TritonError(*arguments)


@pytest.mark.parametrize("parameters", [{"a": 1.5}, {"a": None}, {1: "a"}, [("a", 1)]], ids=str)
def test_parameters_of_other_types(parameters) -> None:
    with pytest.raises(TritonModelException, match="Expect parameters"):
        InferenceResponse([], parameters=parameters)


def test_a_request_of_ones_own() -> None:
    tensor = Tensor("x", np.zeros(1))
    request = InferenceRequest(
        inputs=[tensor], requested_output_names=["y"], model_name="m", request_id="7", timeout=5, parameters={"a": True}
    )
    assert request.inputs() == [tensor]
    assert request.requested_output_names() == {"y"}
    assert (request.request_id(), request.timeout(), request.parameters()) == ("7", 5, '{"a":true}')
    request.set_flags(3)
    assert request.flags() == 3
    with pytest.raises(TritonModelException, match="there is no server to ask"):
        request.exec()
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        InferenceRequest()
    with pytest.raises(TritonModelException, match="parameter 'a'"):
        InferenceRequest(inputs=[], requested_output_names=[], model_name="m", parameters={"a": 1.5})  # type: ignore[dict-item]
    with pytest.raises(TritonModelException, match="Correlation ID"):
        InferenceRequest(inputs=[], requested_output_names=[], model_name="m", correlation_id=-1)


def test_types_by_name_and_number() -> None:
    assert triton_string_to_numpy("TYPE_FP32") is np.float32
    assert triton_string_to_numpy("TYPE_STRING") is np.object_
    for unknown in ("FP32", "TYPE_BF16"):
        with pytest.raises(KeyError):
            triton_string_to_numpy(unknown)
    assert (triton_to_numpy_type(11), triton_to_numpy_type(13), triton_to_numpy_type(14)) == (
        np.float32,
        np.object_,
        None,
    )
    assert [numpy_to_triton_type(t) for t in (np.float32, np.dtype("f4"), bool, object, np.complex64)] == [
        11,
        11,
        1,
        13,
        None,
    ]


def test_byte_tensors() -> None:
    packed = lookup.serialize_byte_tensor(np.array([b"a", "é"], object))
    assert packed == b"\1\0\0\0a\2\0\0\0\xc3\xa9"
    assert lookup.deserialize_bytes_tensor(packed).tolist() == [b"a", "é".encode()]
    assert lookup.serialize_byte_tensor(np.zeros(0, object)) == ()
    assert lookup.serialize_byte_tensor(np.zeros(2)) is None


def test_lookups() -> None:
    tensors = [Tensor("x", np.zeros(1)), Tensor("y", np.zeros(1))]
    request = InferenceRequest(inputs=tensors, requested_output_names=[], model_name="m")
    assert lookup.get_input_tensor_by_name(request, "y") is tensors[1]
    assert lookup.get_input_tensor_by_name(request, "z") is None
    assert lookup.get_output_tensor_by_name(InferenceResponse(tensors), "x") is tensors[0]
    assert lookup.get_output_tensor_by_name(InferenceResponse(tensors), "z") is None
    config = {"input": [{"name": "a"}], "output": [{"name": "b"}], "model_transaction_policy": {"decoupled": True}}
    assert lookup.get_input_config_by_name(config, "a") == {"name": "a"}
    assert lookup.get_output_config_by_name(config, "b") == {"name": "b"}
    assert lookup.get_output_config_by_name(config, "a") is None
    assert lookup.get_input_config_by_name({}, "a") is None
    assert lookup.using_decoupled_model_transaction_policy(config) is True
    assert lookup.using_decoupled_model_transaction_policy({}) is False
