"""Reflection as tools use it: a client that knows no message finds them all, and calls with them."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from pyserver.frontend.grpc import reflection
from pyserver.proto import pool
from pyserver.proto import reflection as pb


def answer(**asked: Any) -> Any:
    return pb.ServerReflectionResponse.FromString(
        reflection.answer(pb.ServerReflectionRequest(host="h", **asked).SerializeToString())
    )


def call(channel: grpc.Channel, service: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
    """One unary call, as grpcurl makes it: nothing is known but what reflection says."""
    described = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName(service)
    found = described.methods_by_name[method]
    kind, reply = GetMessageClass(found.input_type), GetMessageClass(found.output_type)
    done = channel.unary_unary(
        f"/{service}/{method}", request_serializer=kind.SerializeToString, response_deserializer=reply.FromString
    )(json_format.ParseDict(request, kind()), timeout=10)
    return dict(json_format.MessageToDict(done, preserving_proto_field_name=True))


async def test_a_client_that_knows_nothing(channel: grpc.Channel, ask: Any) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(await ask(database.get_services)) == set(reflection.SERVICES)
    service = reflection.SERVICES[0]
    assert await ask(call, channel, service, "ServerLive", {}) == {"live": True}
    metadata = await ask(call, channel, service, "ModelMetadata", {"name": "identity"})
    assert metadata["inputs"] == [{"name": "X", "datatype": "FP32", "shape": ["-1", "4"]}]
    tensor = {"name": "X", "datatype": "INT32", "shape": ["2"], "contents": {"int_contents": [1, 2]}}
    inferred = await ask(call, channel, service, "ModelInfer", {"model_name": "identity", "inputs": [tensor]})
    assert inferred["outputs"][0]["name"] == "OUT_X"
    assert await ask(call, channel, reflection.SERVICES[1], "Check", {}) == {"status": "SERVING"}


@pytest.mark.parametrize("path", reflection.PATHS)
async def test_both_versions(channel: grpc.Channel, ask: Any, path: str) -> None:
    asked = [pb.ServerReflectionRequest(list_services=""), pb.ServerReflectionRequest(file_by_filename="health.proto")]
    method = channel.stream_stream(
        path,
        request_serializer=pb.ServerReflectionRequest.SerializeToString,
        response_deserializer=pb.ServerReflectionResponse.FromString,
    )
    answers = await ask(lambda: list(method(iter(asked), timeout=10)))
    assert [each.WhichOneof("message_response") for each in answers] == [
        "list_services_response",
        "file_descriptor_response",
    ]


async def test_what_is_no_message(channel: grpc.Channel, ask: Any) -> None:
    call = channel.stream_stream(reflection.PATHS[0])(iter([b"\xff\xff"]), timeout=10)
    with pytest.raises(grpc.RpcError) as caught:
        await ask(list, call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_everything_can_be_found() -> None:
    for service in reflection.SERVICES:
        for symbol in [service, *(f"{service}.{method.name}" for method in pool.methods(service))]:
            found = answer(file_containing_symbol=symbol)
            assert found.file_descriptor_response.file_descriptor_proto, symbol
            assert found.valid_host == "h"
    assert answer(all_extension_numbers_of_type="inference.ModelInferRequest").all_extension_numbers_response == (
        pb.ExtensionNumberResponse(base_type_name="inference.ModelInferRequest")
    )


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"file_by_filename": "/etc/passwd"}, 5),
        ({"file_containing_symbol": "inference.Nothing"}, 5),
        ({"file_containing_symbol": "inference.GRPCInferenceService.Nothing"}, 5),
        ({"file_containing_symbol": ""}, 5),
        ({"all_extension_numbers_of_type": "Nothing"}, 5),
        ({"file_containing_extension": pb.ExtensionRequest(containing_type="inference.ModelConfig")}, 5),
        ({}, 3),
    ],
)
def test_what_is_not_there(asked: dict[str, Any], code: int) -> None:
    assert answer(**asked).error_response.error_code == code
