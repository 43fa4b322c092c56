"""What becomes of a client reaches the models that are called for it: going away, and the time it has."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.conftest import Serve
from tests.support.clients import infer_json, tensor
from tests.support.repositories import write_model
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

PROMPT = 0.5
"""Seconds in which all hear of it: a tenth of that is the promise, the rest is for a busy machine."""
CONFIG = """
backend: "python"
{extra}
input {{ name: "IN" data_type: TYPE_STRING dims: [ -1 ] }}
output {{ name: "OUT" data_type: TYPE_STRING dims: [ -1 ] }}
"""
HEAD = """
import asyncio, time
import numpy as np
import triton_python_backend_utils as pb_utils


def call(model, *words, **more):
    tensor = pb_utils.Tensor("IN", np.array(words, np.object_))
    return pb_utils.InferenceRequest(
        model_name=model, inputs=[tensor], requested_output_names=[], request_id=words[0], **more)


def words(request):
    return [word.decode() for word in pb_utils.get_input_tensor_by_name(request, "IN").as_numpy().flat]


def answer(*said):
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array(said, np.object_))])


def told(response):
    if response.has_error():
        return answer(f"{response.error().code().name}: {response.error().message()}")
    return response
"""
CALLEE = (
    HEAD
    + """
class TritonPythonModel:
    def execute(self, requests):
        return [self.one(request) for request in requests]

    def one(self, request):
        name, seconds = words(request)
        print("runs", name, request.timeout(), flush=True)
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            if request.is_cancelled():
                print("cancelled", name, time.time(), flush=True)
                break
            time.sleep(0.005)
        return answer(name)
"""
)
CALLER = (
    HEAD
    + """
class TritonPythonModel:
    def execute(self, requests):
        return [self.one(*words(request)) for request in requests]

    def one(self, model, *rest):
        said = call(model, *rest).exec()
        if said.has_error():
            print("caller heard", rest[-2], said.error().code().name, time.time(), flush=True)
            if said.error().code() == pb_utils.TritonError.CANCELLED:
                again = call(model, *rest).exec()
                print("and again", rest[-2], again.error().code().name, flush=True)
        return told(said)
"""
)
COROUTINES = (
    HEAD
    + """
class TritonPythonModel:
    async def execute(self, requests):
        await asyncio.gather(*(self.one(request) for request in requests))

    async def one(self, request):
        said = await call(*words(request)).async_exec()
        if said.has_error():
            print("coroutine heard", words(request)[-2], said.error().code().name, flush=True)
        request.get_response_sender().send(told(said), 1)
"""
)
MYSELF = (
    HEAD
    + """
import threading

class TritonPythonModel:
    async def execute(self, requests):
        return [await self.one(words(request)[0]) for request in requests]

    async def one(self, how):
        if how == "plain":
            return answer("plain")
        if how == "async":
            return told(await call("myself", "plain").async_exec())
        said = []
        thread = threading.Thread(target=lambda: said.append(call("myself", "plain", timeout=200_000).exec()))
        thread.start()
        thread.join()
        return told(said[0])
"""
)


@pytest.fixture(scope="module")
def server(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("cancellation")
    plain = CONFIG.format(extra="")
    for name, source in {"callee": CALLEE, "middle": CALLER, "myself": MYSELF}.items():
        write_model(repository, name, source, plain)
    write_model(repository, "caller", CALLER, CONFIG.format(extra="instance_group { count: 2 }"))
    write_model(repository, "batch", CALLER, CONFIG.format(extra="max_batch_size: 4 dynamic_batching {}"))
    decoupled = "model_transaction_policy { decoupled: true }"
    write_model(repository, "coroutines", COROUTINES, CONFIG.format(extra=decoupled))
    with make_server(repository) as running:
        yield running


def body(*given: str, **parameters: int) -> bytes:
    shape = [len(given)]
    return json.dumps({"inputs": [tensor("IN", "BYTES", shape, list(given))], "parameters": parameters}).encode()


def hang_up_when(server: ServerProcess, text: str, model: str, *given: str) -> float:
    """Ask, and go away once the log has `text`; when (time.time) that was."""
    connection = http.client.HTTPConnection(server.http, timeout=10)
    connection.request("POST", f"/v2/models/{model}/infer", body(*given))
    server.wait_log(text)
    connection.close()
    return time.time()


def seconds_in(line: str) -> float:
    return float(line.rpartition(" ")[2])


def test_a_client_that_goes_is_told_along_the_whole_chain(server: ServerProcess) -> None:
    gone = hang_up_when(server, "runs chain", "caller", "middle", "callee", "chain", "30")
    assert seconds_in(server.wait_log("cancelled chain")) - gone < PROMPT
    assert seconds_in(server.wait_log("caller heard chain CANCELLED")) - gone < PROMPT
    assert "and again chain CANCELLED" in server.wait_log("and again chain"), "nothing more is begun for it"
    assert infer_json(server, "callee", json.loads(body("after", "0"))).status == 200


def test_the_deadline_of_a_grpc_call_ends_what_was_called_for_it(server: ServerProcess) -> None:
    said = pb.ModelInferRequest(model_name="caller")
    given = said.inputs.add(name="IN", datatype="BYTES", shape=[3])
    given.contents.bytes_contents.extend([b"callee", b"deadline", b"30"])
    began = time.time()
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as failure:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(said, timeout=0.3)
    assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.25 < seconds_in(server.wait_log("cancelled deadline")) - began < 1.0


def test_a_coroutine_of_a_decoupled_model_works_for_its_own_request(server: ServerProcess) -> None:
    """Of two clients of one instance one goes: what was called for the other runs to its end."""
    asked = [stream_request("leaves", "30"), stream_request("stays", "0.3")]
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        leaving = stub.ModelStreamInfer(iter(asked[:1]))
        server.wait_log("runs leaves")
        staying = stub.ModelStreamInfer(iter(asked[1:]))
        leaving.cancel()
        server.wait_log("cancelled leaves")
        server.wait_log("coroutine heard leaves CANCELLED")
        answer = next(staying)
        assert not answer.error_message
        assert answer.infer_response.raw_output_contents[0] == b"\5\0\0\0stays"


def stream_request(name: str, seconds: str) -> pb.ModelInferRequest:
    said = pb.ModelInferRequest(model_name="coroutines")
    given = said.inputs.add(name="IN", datatype="BYTES", shape=[3])
    given.contents.bytes_contents.extend([b"callee", name.encode(), seconds.encode()])
    return said


def test_what_a_batch_asks_for_goes_on_while_anybody_waits(server: ServerProcess) -> None:
    """The calls of an execution are made for all of its requests."""
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(infer_json, server, "batch", batched("holds", "0.3"))
        server.wait_log("runs holds")
        stays = pool.submit(infer_json, server, "batch", batched("shared", "0.6"))
        connection = http.client.HTTPConnection(server.http, timeout=10)
        connection.request("POST", "/v2/models/batch/infer", json.dumps(batched("left", "0.1")).encode())
        server.wait_log("runs shared")
        connection.close()
        assert first.result().status == stays.result().status == 200
    assert not [line for line in server.lines if "cancelled shared" in line]


def batched(name: str, seconds: str) -> dict[str, object]:
    return {"inputs": [tensor("IN", "BYTES", [1, 3], ["callee", name, seconds])]}


def test_the_clients_timeout_is_carried_on(server: ServerProcess) -> None:
    """What it has waited already is taken off, and it ends the waiting for the model that is called."""
    with ThreadPoolExecutor(2) as pool:
        busy = pool.submit(infer_json, server, "callee", json.loads(body("busy", "0.8")))
        server.wait_log("runs busy")
        began = time.monotonic()
        late = infer_json(server, "caller", json.loads(body("callee", "late", "0", timeout=300_000)))
        took = time.monotonic() - began
        assert "UNAVAILABLE: Request timeout expired in the queue of model 'callee'" in late.json["outputs"][0]["data"]
        assert 0.28 <= took < 0.7
        assert busy.result().status == 200
    assert not [line for line in server.lines if "runs late" in line]
    assert infer_json(server, "caller", json.loads(body("callee", "timed", "0", timeout=5_000_000))).status == 200
    found = re.search(r"runs timed (\d+)", server.wait_log("runs timed"))
    assert found
    assert 4_500_000 < int(found[1]) < 5_000_000


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("async", "the call would wait for ever, myself -> myself: every instance of 'myself'"),
        ("thread", "UNAVAILABLE: "),  # by its timeout, or by that of the queue: they end together
    ],
)
def test_waiting_for_oneself_ends(server: ServerProcess, how: str, says: str) -> None:
    """At once where it is certain; a thread's call may be one that nobody waits for, and has its timeout."""
    began = time.monotonic()
    answer = infer_json(server, "myself", json.loads(body(how)))
    assert says in answer.json["outputs"][0]["data"][0]
    assert time.monotonic() - began < (0.19 if how == "async" else 1.0)
    assert infer_json(server, "myself", json.loads(body("plain"))).json["outputs"][0]["data"] == ["plain"]
