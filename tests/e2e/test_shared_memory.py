"""System shared memory over REST and gRPC, by tritonclient's own helpers."""

from __future__ import annotations

import json
import os
import queue
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, NamedTuple

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http
from tritonclient.grpc import aio as triton_grpc_aio
from tritonclient.http import aio as triton_http_aio
from tritonclient.utils import InferenceServerException
from tritonclient.utils import shared_memory as shm

from tests.conftest import Serve
from tests.support.clients import ask, infer_json
from tests.support.repositories import MODELS
from tools.process import ServerProcess

BIG = 300_000
"""Elements of FP32: inputs of more than a body that is received in place."""


class Shared(NamedTuple):
    key: str
    handle: Any

    def path(self) -> str:
        return f"/dev/shm/{self.key}"


@pytest.fixture(scope="module", autouse=True)
def no_tracker() -> Iterator[None]:
    """Python would start a process to look after the objects, which outlives the tests; `shared` does that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resource_tracker, "register", lambda *_: None)
        patch.setattr(resource_tracker, "unregister", lambda *_: None)
        yield


@contextmanager
def shared(size: int) -> Iterator[Shared]:
    """An object of a client's, gone afterwards."""
    key = f"pyserver-test-{uuid.uuid4().hex[:12]}"
    handle = shm.create_shared_memory_region(key, key, size)
    try:
        yield Shared(key, handle)
    finally:
        shm.destroy_shared_memory_region(handle)


@pytest.fixture
def memory() -> Iterator[Shared]:
    with shared(1 << 16) as made:
        yield made


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[Any]:
    made = (
        triton_http.InferenceServerClient(server.http)
        if request.param == "http"
        else triton_grpc.InferenceServerClient(server.grpc)
    )
    with made:
        yield made
        made.unregister_system_shared_memory()


def module_of(client: Any) -> Any:
    return triton_http if isinstance(client, triton_http.InferenceServerClient) else triton_grpc


def placed(module: Any, region: str, size: int, offset: int = 0) -> list[Any]:
    """Both inputs of add_sub in a region, one behind the other."""
    made = []
    for number in range(2):
        each = module.InferInput(f"INPUT{number}", [4], "FP32")
        each.set_shared_memory(region, size, offset + number * size)
        made.append(each)
    return made


def wanted(module: Any, region: str, size: int, offset: int) -> list[Any]:
    made = []
    for number in range(2):
        each = module.InferRequestedOutput(f"OUTPUT{number}")
        each.set_shared_memory(region, size, offset + number * size)
        made.append(each)
    return made


def fill(memory: Shared) -> tuple[Any, Any]:
    one, two = np.array([1, 2, 3, 4], np.float32), np.array([10, 20, 30, 40], np.float32)
    shm.set_shared_memory_region(memory.handle, [one, two])
    return one, two


def contents(memory: Shared, offset: int) -> Any:
    return shm.get_contents_as_numpy(memory.handle, np.float32, [4], offset)


def test_inputs_and_outputs_in_a_region(client: Any, memory: Shared) -> None:
    module = module_of(client)
    one, two = fill(memory)
    client.register_system_shared_memory("r", memory.key, 1 << 12)
    for _ in range(3):
        result = client.infer("add_sub", placed(module, "r", 16), outputs=wanted(module, "r", 16, 64))
        assert np.array_equal(contents(memory, 64), one + two)
        assert np.array_equal(contents(memory, 80), one - two)
        one[:] += 1
        shm.set_shared_memory_region(memory.handle, [one])
    output = result.get_output("OUTPUT0")
    shape = output["shape"] if isinstance(output, dict) else list(output.shape)
    assert shape == [4]


def test_inputs_alone_and_outputs_alone(client: Any, memory: Shared) -> None:
    module = module_of(client)
    one, two = fill(memory)
    client.register_system_shared_memory("r", "/" + memory.key, 1 << 12)
    result = client.infer("add_sub", placed(module, "r", 16))
    assert np.array_equal(result.as_numpy("OUTPUT0"), one + two)
    given = []
    for name, values in (("INPUT0", one), ("INPUT1", two)):
        each = module.InferInput(name, [4], "FP32")
        each.set_data_from_numpy(values)
        given.append(each)
    plain = module.InferRequestedOutput("OUTPUT1")
    result = client.infer("add_sub", given, outputs=[wanted(module, "r", 16, 128)[0], plain])
    assert np.array_equal(contents(memory, 128), one + two)
    assert np.array_equal(result.as_numpy("OUTPUT1"), one - two)


def test_register_at_an_offset_and_status(client: Any, memory: Shared) -> None:
    client.register_system_shared_memory("r", memory.key, 1000, offset=100)
    status = client.get_system_shared_memory_status("r")
    if isinstance(status, list):
        assert status == [{"name": "r", "key": memory.key, "offset": 100, "byte_size": 1000}]
    else:
        region = status.regions["r"]
        assert (region.name, region.key, region.offset, region.byte_size) == ("r", memory.key, 100, 1000)
    shm.set_shared_memory_region(memory.handle, [np.arange(8, dtype=np.float32)], offset=100)
    result = client.infer("add_sub", placed(module_of(client), "r", 16))
    assert result.as_numpy("OUTPUT0").tolist() == [4, 6, 8, 10]


def refused(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(InferenceServerException) as caught:
        call(*arguments, **named)
    return str(caught.value.message())


def test_what_is_refused(client: Any, memory: Shared) -> None:
    module = module_of(client)
    register = client.register_system_shared_memory
    register("r", memory.key, 64)
    assert "shared memory region 'r' already in manager" in refused(register, "r", memory.key, 64)
    assert "Unable to open shared memory region: '/no-such'" in refused(register, "s", "/no-such", 64)
    assert "Invalid shared memory key" in refused(register, "s", "../etc/passwd", 64)
    assert "Invalid shared memory region" in refused(register, "s", memory.key, 1 << 40)
    assert "Unable to find system shared memory region: 'zz'" in refused(client.get_system_shared_memory_status, "zz")
    infer = client.infer
    assert "Unable to find shared memory region: 'zz'" in refused(infer, "add_sub", placed(module, "zz", 16))
    words = refused(infer, "add_sub", placed(module, "r", 16, 64))
    assert "Invalid offset for shared memory region: 'r'" in words
    words = refused(infer, "add_sub", placed(module, "r", 16, 40))
    assert "Invalid offset + byte size for shared memory region: 'r'" in words
    words = refused(infer, "add_sub", placed(module, "r", 12))
    assert "input byte size mismatch for input 'INPUT0' for model 'add_sub'. Expected 16, got 12" in words
    words = refused(infer, "add_sub", placed(module, "r", 16), outputs=wanted(module, "r", 8, 32))
    assert "for output 'OUTPUT0' (8 bytes) should be at least 16 bytes to hold the results" in words
    client.unregister_system_shared_memory("never was")


@pytest.mark.ours
def test_an_object_that_shrinks_harms_one_request_and_nobody_else(
    client: Any, server: ServerProcess, memory: Shared
) -> None:
    """With the object mapped this would end the server by SIGBUS."""
    module = module_of(client)
    client.register_system_shared_memory("r", memory.key, 1 << 12)
    with shared(1 << 12) as good:
        one, two = fill(good)
        client.register_system_shared_memory("good", good.key, 1 << 12)
        os.truncate(memory.path(), 20)
        assert "'r' has shrunk" in refused(client.infer, "add_sub", placed(module, "r", 16))
        outputs = wanted(module, "r", 16, 64)
        assert "'r' has shrunk" in refused(client.infer, "add_sub", placed(module, "good", 16), outputs=outputs)
        assert os.stat(memory.path()).st_size == 20
        result = client.infer("add_sub", placed(module, "good", 16))
        assert np.array_equal(result.as_numpy("OUTPUT0"), one + two)


@pytest.mark.ours
def test_unregistered_while_in_use(server: ServerProcess, memory: Shared) -> None:
    """The answer of a request under way goes where it was told to go."""
    with triton_http.InferenceServerClient(server.http, concurrency=2) as client:
        client.register_system_shared_memory("r", memory.key, 1 << 12)
        shm.set_shared_memory_region(memory.handle, [np.array([0.4], np.float32)])
        given = triton_http.InferInput("SECONDS", [1], "FP32")
        given.set_shared_memory("r", 4)
        output = triton_http.InferRequestedOutput("SECONDS")
        output.set_shared_memory("r", 4, 64)
        running = client.async_infer("slow", [given], outputs=[output])
        while not client.get_inference_statistics("slow")["model_stats"][0]["last_inference"]:
            pass
        client.unregister_system_shared_memory("r")
        assert client.get_system_shared_memory_status() == []
        running.get_result()
        assert shm.get_contents_as_numpy(memory.handle, np.float32, [1], 64)[0] == np.float32(0.4)


def test_large_tensors(client: Any) -> None:
    """More than is copied: read to where the model sees it."""
    module = module_of(client)
    values = np.arange(BIG, dtype=np.float32).reshape(1, BIG)
    with shared(2 * values.nbytes) as memory:
        shm.set_shared_memory_region(memory.handle, [values])
        client.register_system_shared_memory("big", memory.key, 2 * values.nbytes)
        given = module.InferInput("FP32", [1, BIG], "FP32")
        given.set_shared_memory("big", values.nbytes)
        output = module.InferRequestedOutput("FP32_OUT")
        output.set_shared_memory("big", values.nbytes, values.nbytes)
        client.infer("identity", [given], outputs=[output])
        got = shm.get_contents_as_numpy(memory.handle, np.float32, values.shape, values.nbytes)
        assert np.array_equal(got, values)
        client.unregister_system_shared_memory("big")


@pytest.mark.parametrize("module", [triton_http_aio, triton_grpc_aio], ids=["http", "grpc"])
async def test_the_aio_clients(server: ServerProcess, memory: Shared, module: Any) -> None:
    base = triton_http if module is triton_http_aio else triton_grpc
    address = server.http if module is triton_http_aio else server.grpc
    one, two = fill(memory)
    async with module.InferenceServerClient(address) as client:
        await client.register_system_shared_memory("aio", memory.key, 1 << 12)
        assert await client.get_system_shared_memory_status("aio")
        await client.infer("add_sub", placed(base, "aio", 16), outputs=wanted(base, "aio", 16, 64))
        await client.unregister_system_shared_memory("aio")
    assert np.array_equal(contents(memory, 64), one + two)


def test_in_a_stream(server: ServerProcess, memory: Shared) -> None:
    one, two = fill(memory)
    answers: list[Any] = []
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.register_system_shared_memory("stream", memory.key, 1 << 12)
        client.start_stream(lambda result, error: answers.append(error or result))
        client.async_stream_infer(
            "add_sub", placed(triton_grpc, "stream", 16), outputs=wanted(triton_grpc, "stream", 16, 64)
        )
        client.async_stream_infer("add_sub", placed(triton_grpc, "nope", 16), request_id="second")
        client.stop_stream()
        client.unregister_system_shared_memory("stream")
    assert any("Unable to find shared memory region: 'nope'" in str(answer) for answer in answers)
    assert np.array_equal(contents(memory, 64), one + two)


def test_much_in_a_stream(server: ServerProcess) -> None:
    """Large inputs are read, and large outputs written, beside the loop; what can't be read is said in its place."""
    values = np.arange(BIG, dtype=np.float32).reshape(1, BIG)
    heard: queue.Queue[Any] = queue.Queue()
    with shared(2 * values.nbytes) as memory, triton_grpc.InferenceServerClient(server.grpc) as client:
        shm.set_shared_memory_region(memory.handle, [values])
        client.register_system_shared_memory("much", memory.key, 2 * values.nbytes)
        given = triton_grpc.InferInput("FP32", [1, BIG], "FP32")
        given.set_shared_memory("much", values.nbytes)
        output = triton_grpc.InferRequestedOutput("FP32_OUT")
        output.set_shared_memory("much", values.nbytes, values.nbytes)
        client.start_stream(lambda result, error: heard.put(error or result))
        for _ in range(3):
            client.async_stream_infer("identity", [given], outputs=[output])
            assert heard.get(timeout=10).get_output("FP32_OUT").shape == [1, BIG]
        assert np.array_equal(shm.get_contents_as_numpy(memory.handle, np.float32, values.shape, values.nbytes), values)
        os.truncate(memory.path(), values.nbytes // 2)
        client.async_stream_infer("identity", [given], request_id="shrunk")
        assert "has shrunk since it was registered" in str(heard.get(timeout=10))
        client.stop_stream()
        os.truncate(memory.path(), 2 * values.nbytes)
        client.unregister_system_shared_memory("much")


@pytest.mark.ours
def test_the_wire_forms(server: ServerProcess, memory: Shared) -> None:
    """What the client library would not send."""
    register = "/v2/systemsharedmemory/region/r/register"
    for path, body, words in (
        (register, {"byte_size": 1}, "Shared memory register request has no 'key' field"),
        (register, {"key": "k"}, "Shared memory register request has no 'byte_size' field"),
        (register, {"key": 1, "byte_size": 1}, "Unable to parse 'key'"),
        (register, [], "attempt to get members for non-object"),
        ("/v2/systemsharedmemory/register", {"key": "k", "byte_size": 1}, "'region name' is necessary"),
        ("/v2/cudasharedmemory/region/c/register", {"device_id": 0, "byte_size": 1}, "has no 'raw_handle' field"),
        (
            "/v2/cudasharedmemory/region/c/register",
            {"raw_handle": {"b64": "?"}, "device_id": 0, "byte_size": 1},
            "'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t",
        ),
    ):
        answer = ask(server, "POST", path, json.dumps(body).encode())
        assert answer.status == 400, answer
        assert words in answer.error
    assert ask(server, "GET", "/v2/systemsharedmemory/status").json == []
    assert ask(server, "GET", "/v2/cudasharedmemory/status").json == []
    assert ask(server, "GET", "/v2/cudasharedmemory/region/c/status").status == 404
    assert ask(server, "POST", "/v2/cudasharedmemory/unregister").status == 200
    assert ask(server, "GET", "/v2/systemsharedmemory/status/").status == 404
    place = {"shared_memory_region": "r", "shared_memory_byte_size": 4}
    inputs = [{"name": "INPUT0", "datatype": "FP32", "shape": [4], "parameters": place, "data": [1]}]
    assert "Input must set only one of" in infer_json(server, "add_sub", {"inputs": inputs}).error


@pytest.mark.ours
def test_who_may_register(serve: Serve, memory: Shared) -> None:
    def register(server: ServerProcess) -> Any:
        body = json.dumps({"key": memory.key, "byte_size": 1}).encode()
        return ask(server, "POST", "/v2/systemsharedmemory/region/r/register", body)

    closed = serve(MODELS, options=("--allow-client-shm=false",), ready=False)
    assert register(closed).status == 501
    assert "--allow-client-shm=true" in register(closed).error
    picky = serve(MODELS, options=("--client-shm-prefix=other-",), ready=False)
    assert register(picky).status == 400
    assert "may not register" in register(picky).error
