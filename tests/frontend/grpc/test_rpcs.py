"""Every unary RPC, by Triton's own client, over each engine."""

import asyncio
import json
import sys

import grpc
import numpy as np
import pytest
import tritonclient.grpc as client_library
from tritonclient.utils import InferenceServerException

from pyserver.errors import ErrorCode
from pyserver.frontend.grpc import service
from pyserver.frontend.grpc.server import GrpcServer
from pyserver.proto import health as health_pb
from pyserver.proto import inference as pb
from pyserver.proto import pool
from pyserver.types import SEQUENCE_END, SEQUENCE_START

SERVICE = "/inference.GRPCInferenceService/"


def tensor(name, array, datatype="FP32"):
    made = client_library.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def infer_bytes(model="identity", **fields):
    request = pb.ModelInferRequest(model_name=model, **fields)
    request.inputs.add(name="X", datatype="FP32", shape=[2])
    request.raw_input_contents.append(bytes(8))
    return request.SerializeToString()


async def status_of(ask, channel, method, message=b""):
    with pytest.raises(grpc.RpcError) as raised:
        await ask(channel.unary_unary(SERVICE + method), message, timeout=10)
    return raised.value.code(), raised.value.details()


async def test_the_servers_health_and_metadata(client, planes, ask):
    assert await ask(client.is_server_live)
    assert await ask(client.is_server_ready)
    planes.alive = False
    assert not await ask(client.is_server_live)
    assert not await ask(client.is_server_ready)
    metadata = await ask(client.get_server_metadata)
    assert (metadata.name, metadata.version) == ("tests", "1.2")
    assert list(metadata.extensions) == ["statistics", "parameters"]


async def test_a_models_health_and_metadata(client, ask):
    assert await ask(client.is_model_ready, "identity", "1")
    assert not await ask(client.is_model_ready, "identity", "7")
    assert not await ask(client.is_model_ready, "unknown")
    metadata = await ask(client.get_model_metadata, "identity")
    assert (metadata.name, metadata.platform, list(metadata.versions)) == ("identity", "python", ["1", "3"])
    assert (metadata.inputs[0].name, metadata.outputs[0].datatype) == ("X", "FP32")
    assert list(metadata.inputs[0].shape) == [-1, 4]


async def test_a_models_configuration(client, ask):
    config = (await ask(client.get_model_config, "identity")).config
    assert (config.name, config.backend, config.max_batch_size) == ("identity", "python", 8)
    assert config.input[0].data_type == 11
    assert config.dynamic_batching.max_queue_delay_microseconds == 5_000_000_000


async def test_statistics(client, ask):
    (found,) = (await ask(client.get_inference_statistics, "identity", "1")).model_stats
    assert (found.name, found.version, found.last_inference) == ("identity", "1", 1_700_000_000_000)
    assert (found.inference_count, found.execution_count) == (5, 3)
    assert found.inference_stats.success.count == 2**40
    assert found.batch_stats[0].batch_size == 2
    assert found.batch_stats[0].compute_input.ns == 9
    assert (await ask(client.get_inference_statistics)).model_stats[0].name == "all"


async def test_the_repository(client, planes, ask):
    index = (await ask(client.get_model_repository_index)).models
    assert [(model.name, model.version, model.state, model.reason) for model in index] == [
        ("identity", "1", "READY", ""),
        ("bad", "", "", "broken"),
    ]
    await ask(client.load_model, "identity", config='{"max_batch_size": 4}', files={"file:1/model.py": b"\x00\xff"})
    await ask(client.unload_model, "identity", unload_dependents=True)
    assert planes.loaded == [
        ("identity", {"config": '{"max_batch_size": 4}', "file:1/model.py": b"\x00\xff"}),
        ("identity", True),
    ]


async def test_the_index_of_ready_models(channel, ask):
    request = pb.RepositoryIndexRequest(ready=True).SerializeToString()
    answer = await ask(channel.unary_unary(SERVICE + "RepositoryIndex"), request)
    assert [model.name for model in pb.RepositoryIndexResponse.FromString(answer).models] == ["identity"]


async def test_a_load_that_fails(channel, ask):
    request = pb.RepositoryModelLoadRequest(model_name="bad")
    code, text = await status_of(ask, channel, "RepositoryModelLoad", request.SerializeToString())
    assert (code, text) == (
        grpc.StatusCode.INTERNAL,
        "failed to load 'bad', failed to poll from model repository",
    )


@pytest.mark.parametrize(
    ("method", "request_of", "code", "text"),
    [
        ("RepositoryIndex", lambda: pb.RepositoryIndexRequest(repository_name="r"), "UNIMPLEMENTED", "'r'"),
        (
            "RepositoryModelLoad",
            lambda: pb.RepositoryModelLoadRequest(
                model_name="m", parameters={"foo": pb.ModelRepositoryParameter(string_param="1")}
            ),
            "INVALID_ARGUMENT",
            "unrecognized load parameter 'foo'.",
        ),
        (
            "RepositoryModelLoad",
            lambda: pb.RepositoryModelLoadRequest(
                model_name="m", parameters={"config": pb.ModelRepositoryParameter(bool_param=True)}
            ),
            "INVALID_ARGUMENT",
            "invalid value type for 'config' parameter, expected string_param",
        ),
        (
            "RepositoryModelUnload",
            lambda: pb.RepositoryModelUnloadRequest(
                model_name="m", parameters={"unload_dependents": pb.ModelRepositoryParameter(string_param="1")}
            ),
            "INVALID_ARGUMENT",
            "invalid value type for 'unload_dependents' parameter, expected bool_param",
        ),
    ],
)
async def test_repository_requests_that_are_refused(channel, ask, method, request_of, code, text):
    found = await status_of(ask, channel, method, request_of().SerializeToString())
    assert found[0] is grpc.StatusCode[code]
    assert text in found[1]


async def test_a_load_goes_on_without_the_client_that_asked_for_it(channel, planes, ask):
    planes.load_gate = asyncio.Event()
    request = pb.RepositoryModelLoadRequest(model_name="late").SerializeToString()
    with pytest.raises(grpc.RpcError) as raised:
        await ask(channel.unary_unary(SERVICE + "RepositoryModelLoad"), request, timeout=0.2)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    planes.load_gate.set()
    async with asyncio.timeout(5):
        while not planes.loaded:
            await asyncio.sleep(0.005)
    assert planes.loaded == [("late", {})]


async def test_an_inference(client, planes, ask):
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    words = np.array([b"", "é".encode(), b"\x00\xff"], dtype=object)
    result = await ask(
        client.infer, "identity", [tensor("A", values), tensor("B", words, "BYTES")], request_id="r-7",
        outputs=[client_library.InferRequestedOutput("OUT_A"), client_library.InferRequestedOutput("OUT_B")],
        sequence_id=9, sequence_start=True, sequence_end=True, priority=3, timeout=11,
        parameters={"temperature": 0.5, "on": True, "n": -4, "text": "hé"},
    )  # fmt: skip
    np.testing.assert_array_equal(result.as_numpy("OUT_A"), values)
    np.testing.assert_array_equal(result.as_numpy("OUT_B"), words)
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == ("identity", "1", "r-7")
    assert {key: value.WhichOneof("parameter_choice") for key, value in response.parameters.items()} == {
        "temperature": "double_param", "on": "bool_param", "n": "int64_param", "text": "string_param",
    }  # fmt: skip
    (request,) = planes.requests
    assert [output.name for output in request.outputs] == ["OUT_A", "OUT_B"]
    assert (request.correlation_id, request.flags) == (9, SEQUENCE_START | SEQUENCE_END)
    assert (request.priority, request.timeout_us) == (3, 11)
    assert request.parameters == {"temperature": 0.5, "on": True, "n": -4, "text": "hé"}
    assert [lease.released for lease in planes.leases] == [1]


@pytest.mark.parametrize("compression", ["gzip"])
async def test_a_compressed_request(client, ask, compression):
    values = np.zeros(100_000, np.float32)
    result = await ask(client.infer, "identity", [tensor("A", values)], compression_algorithm=compression)
    np.testing.assert_array_equal(result.as_numpy("OUT_A"), values)


async def test_64_mebibytes_there_and_back(channel, planes, ask):
    request = pb.ModelInferRequest(model_name="identity")
    request.inputs.add(name="X", datatype="UINT8", shape=[64 << 20])
    request.raw_input_contents.append(bytes(range(256)) * (1 << 18))
    answer = await ask(channel.unary_unary(SERVICE + "ModelInfer"), request.SerializeToString(), timeout=60)
    response = pb.ModelInferResponse.FromString(answer)
    assert response.raw_output_contents[0] == request.raw_input_contents[0]
    assert [lease.released for lease in planes.leases] == [1]


async def test_64_calls_at_once(channel, planes, ask):
    call = channel.unary_unary(SERVICE + "ModelInfer")
    calls = [call.future(infer_bytes("held", id=str(number)), timeout=20) for number in range(64)]
    await planes.holds(64)
    for future, request in reversed(planes.held):
        planes.answer(future, request)
    for number, made in enumerate(calls):
        assert pb.ModelInferResponse.FromString(await ask(made.result)).id == str(number)
    assert [lease.released for lease in planes.leases] == [1] * 64


CODES = {
    ErrorCode.UNKNOWN: "UNKNOWN", ErrorCode.INTERNAL: "INTERNAL", ErrorCode.NOT_FOUND: "NOT_FOUND",
    ErrorCode.INVALID_ARG: "INVALID_ARGUMENT", ErrorCode.UNAVAILABLE: "UNAVAILABLE",
    ErrorCode.UNSUPPORTED: "UNIMPLEMENTED", ErrorCode.ALREADY_EXISTS: "ALREADY_EXISTS",
    ErrorCode.CANCELLED: "CANCELLED",
}  # fmt: skip


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_what_errors_become(channel, ask, code):
    found = await status_of(ask, channel, "ModelInfer", infer_bytes(f"code-{int(code)}"))
    assert found == (grpc.StatusCode[CODES[code]], f"failed with {int(code)}")
    found = await status_of(ask, channel, "ModelInfer", infer_bytes(f"refused-{int(code)}"))
    assert found == (grpc.StatusCode[CODES[code]], f"refused 'x'\nécrit {int(code)}%")


async def test_a_bug_is_told_without_its_details(channel, ask, caplog):
    code, text = await status_of(ask, channel, "ModelInfer", infer_bytes("bug"))
    assert code is grpc.StatusCode.INTERNAL
    assert "secret" not in text
    assert "secret" in caplog.text


async def test_tritons_client_reads_the_errors(client, ask):
    with pytest.raises(InferenceServerException) as raised:
        await ask(client.infer, "unknown", [tensor("A", np.zeros(2, np.float32))])
    assert raised.value.status() == "StatusCode.NOT_FOUND"
    assert raised.value.message() == "Request for unknown model: 'unknown' is not found"


async def test_what_is_no_message(channel, ask):
    for method in ("ModelInfer", "ModelMetadata", "RepositoryModelLoad"):
        code, text = await status_of(ask, channel, method, b"\xff\xff\xff")
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "failed to parse" in text


async def test_an_unknown_model_is_the_graver_mistake(channel, ask):
    def wrong(model):
        return infer_bytes(model, parameters={"triton_x": pb.InferParameter(bool_param=True)})

    assert (await status_of(ask, channel, "ModelInfer", wrong("unknown")))[0] is grpc.StatusCode.NOT_FOUND
    assert (await status_of(ask, channel, "ModelInfer", wrong("identity")))[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_every_rpc_is_there(planes):
    wanted = {method.path for method in pool.methods("inference.GRPCInferenceService") if not method.request_streams}
    assert {method.path for method in service.methods(planes, planes)} == wanted


async def test_what_is_no_rpc(channel, ask):
    assert (await status_of(ask, channel, "NoSuchThing"))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_health_checks(channel, planes, ask):
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    statuses = health_pb.HealthCheckResponse
    request = health_pb.HealthCheckRequest(service="anything").SerializeToString()
    assert statuses.FromString(await ask(check, request)).status == statuses.SERVING
    planes.alive = False
    assert statuses.FromString(await ask(check, b"")).status == statuses.NOT_SERVING


async def test_an_asyncio_client(server: GrpcServer, ask):
    """In a process of its own: two loops of grpc.aio in one process disturb each other."""
    program = f"""
import asyncio, json, numpy as np, tritonclient.grpc.aio as library
async def main():
    async with library.InferenceServerClient("127.0.0.1:{server.port}") as client:
        given = library.InferInput("A", [3], "INT32")
        given.set_data_from_numpy(np.arange(3, dtype=np.int32))
        results = await asyncio.gather(*(client.infer("identity", [given]) for _ in range(20)))
        print(json.dumps([result.as_numpy("OUT_A").tolist() for result in results]))
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert json.loads(out) == [[0, 1, 2]] * 20, err.decode()
