"""MLServer's models over gRPC: raw for raw, typed for typed, metadata in and out, plain streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.conftest import Serve
from tests.support.runtimes import write_runtime

pytestmark = pytest.mark.ours


class Client:
    """A channel to a server, and its stub."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def infer(self, request: Any, **metadata: str) -> tuple[Any, dict[str, str]]:
        pairs = tuple((key.replace("_", "-"), value) for key, value in metadata.items())
        response, call = self.stub.ModelInfer.with_call(request, metadata=pairs, timeout=20)
        return response, dict(call.trailing_metadata() or ())


@pytest.fixture(scope="module", params=["grpcio", "auto"])
def client(request: pytest.FixtureRequest, make_server: Serve, tmp_path_factory: Any) -> Iterator[Client]:
    repository = tmp_path_factory.mktemp("mlserver")
    for name in ("Echo", "Meta", "Heard", "Broken", "Streams"):
        write_runtime(repository, name.lower(), f"runtimes.{name}")
    with make_server(repository, options=(f"--grpc-engine={request.param}",)) as running:
        made = Client(running.grpc)
        yield made
        made.channel.close()


def asked(model: str, datatype: str, shape: list[int], **contents: Any) -> Any:
    request = pb.ModelInferRequest(model_name=model)
    added = request.inputs.add(name="x", datatype=datatype, shape=shape)
    for key, values in contents.items():
        getattr(added.contents, key).extend(values)
    return request


def test_raw_for_raw(client: Client) -> None:
    request = asked("meta", "FP32", [1, 2])
    request.raw_input_contents.append(np.array([[1, 2]], np.float32).tobytes())
    response, _ = client.infer(request)
    assert not response.outputs[0].HasField("contents")
    assert response.raw_output_contents[0] == np.array([[1, 2]], np.float32).tobytes()
    assert response.id == ""
    assert response.outputs[0].parameters["content_type"].string_param == "np"


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("FP32", "fp32_contents", [1.5, 2.5]),
        ("FP64", "fp64_contents", [1.5, 2.5]),
        ("INT8", "int_contents", [-1, 2]),
        ("INT64", "int64_contents", [-1, 2]),
        ("UINT16", "uint_contents", [1, 2]),
        ("UINT64", "uint64_contents", [1, 2**64 - 1]),
        ("BOOL", "bool_contents", [True, False]),
        ("BYTES", "bytes_contents", [b"a", b"\xff"]),
    ],
)
def test_typed_for_typed(client: Client, datatype: str, field: str, values: list[Any]) -> None:
    response, _ = client.infer(asked("echo", datatype, [2], **{field: values}))
    assert not response.raw_output_contents
    assert list(getattr(response.outputs[0].contents, field)) == values
    assert list(response.outputs[0].shape) == [2]


def test_parameters_and_ids(client: Client) -> None:
    request = asked("echo", "FP32", [1], fp32_contents=[1])
    request.id = "mine"
    request.inputs[0].parameters["p"].int64_param = 5
    request.inputs[0].parameters["q"].bool_param = True
    response, _ = client.infer(request)
    assert response.id == "mine"
    assert response.outputs[0].parameters["p"].int64_param == 5
    assert response.outputs[0].parameters["q"].bool_param is True


def test_metadata_are_headers(client: Client, request: pytest.FixtureRequest) -> None:
    if "auto" in request.node.name:
        pytest.skip("pygrpc-native tells no metadata")
    response, trailing = client.infer(asked("heard", "FP32", [1], fp32_contents=[1]), x_a="b")
    heard = response.outputs[0].contents.bytes_contents[0].decode()
    assert '"x-a":"b"' in heard
    assert '"Ce-Type":"io.seldon.serving.inference.request"' in heard
    assert trailing["x-answer"] == "yes"
    assert trailing["ce-type"] == "io.seldon.serving.inference.response"
    assert "ce-id" not in trailing


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        (b"client", grpc.StatusCode.INVALID_ARGUMENT, "your fault"),
        (b"other", grpc.StatusCode.INTERNAL, "builtins.ValueError: bad value"),
        (b"status", grpc.StatusCode.UNKNOWN, "I'm a teapot"),
    ],
)
def test_what_a_model_raises(client: Client, how: bytes, code: grpc.StatusCode, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.infer(asked("broken", "BYTES", [1], bytes_contents=[how]))
    assert (caught.value.code(), caught.value.details()) == (code, text)


def test_a_wrong_size_is_refused(client: Client) -> None:
    request = asked("meta", "FP32", [4])
    request.raw_input_contents.append(b"\0" * 12)
    with pytest.raises(grpc.RpcError) as caught:
        client.infer(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "has 12 bytes, expected 16" in str(caught.value.details())


def test_an_input_without_a_name_is_no_envelope(client: Client) -> None:
    request = asked("echo", "BYTES", [1], bytes_contents=[b'\0\0\0\0{"stream":true}'])
    request.inputs[0].name = ""
    with pytest.raises(grpc.RpcError) as caught:
        client.infer(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_stream_of_plain_responses(client: Client) -> None:
    request = asked("streams", "INT32", [1], int_contents=[3])
    request.id = "s"
    raw = client.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    call = raw(iter([request]), timeout=20)
    found = list(call)
    trailing = dict(call.trailing_metadata())
    assert (trailing["x-s"], trailing["ce-type"]) == ("1", "io.seldon.serving.inference.response")
    assert [list(response.outputs[0].contents.int64_contents) for response in found] == [[0], [1], [2]]
    assert {response.id for response in found} == {"s"}
    failing = asked("streams", "INT32", [1], int_contents=[-1])
    with pytest.raises(grpc.RpcError) as caught:
        list(raw(iter([failing]), timeout=20))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "enough"


@pytest.mark.parametrize("size", [12, 15])
def test_a_stream_that_is_refused_ends_with_the_status(client: Client, size: int) -> None:
    raw = client.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    request = asked("streams", "FP32", [4])
    request.raw_input_contents.append(b"\0" * size)
    with pytest.raises(grpc.RpcError) as caught:
        list(raw(iter([request]), timeout=20))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f"{size} bytes, expected 16" in str(caught.value.details())


def test_tritons_client(client: Client) -> None:
    address = client.channel._channel.target().decode()  # type: ignore[attr-defined]
    made = triton_grpc.InferInput("x", [2, 1], "FP32")
    made.set_data_from_numpy(np.array([[1], [2]], np.float32))
    with triton_grpc.InferenceServerClient(address) as triton:
        result = triton.infer("meta", [made])
    np.testing.assert_array_equal(result.as_numpy("output-1"), np.array([[1], [2]], np.float32))
