"""Every public method of tritonclient's four clients, against a real server; a method without a test here fails.

Methods of an extension that the server doesn't announce are expected to fail.
"""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient._plugin import InferenceServerClientPlugin
from tritonclient.utils import InferenceServerException

from tests.conftest import Serve
from tests.support.any_client import MODULES, AnyClient, any_client, methods
from tests.support.clients import ask
from tests.support.decoupled import REPEAT, write_decoupled
from tests.support.repositories import MODELS
from tools.process import ServerProcess

OPTIONS = ["--model-control-mode=explicit", "--load-model=add_sub", "--load-model=repeat"]
OPTIONS += ["--allow-client-shm=true"]
A, B = np.array([1, 2, 3, 4], np.float32), np.array([10, 10, 10, 10], np.float32)
CONFIG = """{"backend":"python","input":[{"name":"INPUT0","data_type":"TYPE_FP32","dims":[4]},
{"name":"INPUT1","data_type":"TYPE_FP32","dims":[4]}],"output":[{"name":"OUTPUT0","data_type":"TYPE_FP32","dims":[4]}]}"""


@pytest.fixture(scope="module")
def everything(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("repository")
    write_decoupled(repository, "repeat", REPEAT)
    trace = tmp_path_factory.mktemp("traces") / "trace"
    with make_server(MODELS, repository, options=(*OPTIONS, f"--trace-config=triton,file={trace}")) as running:
        yield running


@pytest.fixture(scope="module")
def extensions(everything: ServerProcess) -> set[str]:
    return set(ask(everything, "GET", "/v2").json["extensions"])


Case = Callable[[AnyClient], None]
CASES: dict[str, Case] = {}
NEEDS: dict[str, str] = {}


def case(*names: str, needs: str = "") -> Callable[[Case], Case]:
    """A test of the methods `names`, for servers with the extension `needs`."""

    def known(test: Case) -> Case:
        for name in names:
            CASES[name] = test
            NEEDS[name] = needs
        return test

    return known


@pytest.mark.parametrize("kind", MODULES)
def test_every_method_has_a_case(kind: str) -> None:
    assert set(methods(kind)) <= set(CASES)


def inputs(client: AnyClient) -> list[Any]:
    return [client.infer_input("INPUT0", A, "FP32"), client.infer_input("INPUT1", B, "FP32")]


def check(result: Any) -> None:
    assert np.array_equal(result.as_numpy("OUTPUT0"), A + B)


@case("is_server_live", "is_server_ready", "is_model_ready")
def _health(client: AnyClient) -> None:
    client.server.wait_ready()  # a model may be on its way out, of another test
    assert client.call("is_server_live") is True or client.call("is_server_live") == {"live": True}
    assert client.call("is_server_ready")
    assert client.call("is_model_ready", "add_sub")
    assert client.call("is_model_ready", "add_sub", "1")
    assert client.call("is_model_ready", "nobody") is False


@case("get_server_metadata", "get_model_metadata", "get_model_config")
def _metadata(client: AnyClient) -> None:
    assert client.call("get_server_metadata")["name"] == "triton"
    assert client.call("get_model_metadata", "add_sub", "1")["inputs"][0]["name"] == "INPUT0"
    config = client.call("get_model_config", "add_sub")
    assert config.get("config", config)["backend"] == "python"
    with pytest.raises(InferenceServerException, match="unknown model"):
        client.call("get_model_metadata", "nobody")


@case("get_inference_statistics")
def _statistics(client: AnyClient) -> None:
    check(client.call("infer", "add_sub", inputs(client)))
    (one,) = client.call("get_inference_statistics", "add_sub", "1")["model_stats"]
    assert int(one["inference_stats"]["success"]["count"]) >= 1
    assert len(client.call("get_inference_statistics")["model_stats"]) >= 2


@case("get_model_repository_index", "load_model", "unload_model")
def _repository(client: AnyClient) -> None:
    code = (MODELS / "add_sub/1/model.py").read_bytes()
    client.call("load_model", "batching")
    assert client.call("is_model_ready", "batching")
    client.call("load_model", "brought", config=CONFIG, files={"file:1/model.py": code})
    check(client.call("infer", "brought", inputs(client)))
    found = client.call("get_model_repository_index")
    listed = found["models"] if client.grpc else found
    assert {"batching", "brought"} <= {entry["name"] for entry in listed if entry.get("state") == "READY"}
    for name in ("batching", "brought"):
        client.call("unload_model", name, unload_dependents=True)
        client.call("unload_model", name)
        assert not client.call("is_model_ready", name)
    with pytest.raises(InferenceServerException, match="failed to load 'nobody'"):
        client.call("load_model", "nobody")


@case("infer")
def _infer(client: AnyClient) -> None:
    outputs = [client.module.InferRequestedOutput("OUTPUT0")]
    result = client.call(
        "infer", "add_sub", inputs(client), model_version="1", outputs=outputs, request_id="seven", priority=1,
        timeout=10_000_000, headers={"x-any": "1"}, parameters={"mine": "x", "number": 3},
    )  # fmt: skip
    check(result)
    response = result.get_response(as_json=True) if client.grpc else result.get_response()
    assert response["id"] == "seven"
    assert result.as_numpy("OUTPUT1") is None
    with pytest.raises(InferenceServerException, match="unexpected inference input"):
        client.call("infer", "add_sub", [*inputs(client)[:1], client.infer_input("OTHER", B, "FP32")])
    for algorithm in ("gzip",) if client.grpc else ("gzip", "deflate"):
        how = {"compression_algorithm": algorithm} if client.grpc else {
            "request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm
        }  # fmt: skip
        check(client.call("infer", "add_sub", inputs(client), **how))


@case("async_infer")
def _async_infer(client: AnyClient) -> None:
    if not client.grpc:
        check(client.raw.async_infer("add_sub", inputs(client)).get_result(timeout=10))
        return
    answers: queue.Queue[Any] = queue.Queue()
    client.raw.async_infer("add_sub", inputs(client), lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=10)
    assert error is None
    check(result)


@case("start_stream", "async_stream_infer", "stop_stream")
def _stream(client: AnyClient) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.raw.start_stream(lambda result, error: answers.put((result, error)))
    given = client.infer_input("IN", np.array([5, 6], np.int32), "INT32")
    client.raw.async_stream_infer("repeat", [given], request_id="s", enable_empty_final_response=True)
    found = [answers.get(timeout=10) for _ in range(3)]
    client.raw.stop_stream()
    assert [error for _, error in found] == [None] * 3
    assert [result.as_numpy("OUT").tolist() for result, _ in found[:2]] == [[5], [6]]
    assert found[2][0].get_response().parameters["triton_final_response"].bool_param


@case("stream_infer")
def _stream_aio(client: AnyClient) -> None:
    given = client.infer_input("IN", np.array([5, 6], np.int32), "INT32")

    async def requests() -> Any:
        yield {"model_name": "repeat", "inputs": [given], "request_id": "s"}

    async def read() -> list[Any]:
        return [each async for each in client.raw.stream_infer(requests())]

    found = client.wait(read)
    assert [error for _, error in found] == [None] * 2
    assert [result.as_numpy("OUT").tolist() for result, _ in found] == [[5], [6]]


@case("generate_request_body", "parse_response_body")
def _bodies(client: AnyClient) -> None:
    """A body that the client makes, sent by other means, and the answer read by it."""
    body, length = type(client.raw).generate_request_body(inputs(client))
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    answer = ask(client.server, "POST", "/v2/models/add_sub/infer", body, headers)
    size = answer.headers.get("inference-header-content-length")
    check(type(client.raw).parse_response_body(answer.body, header_length=None if size is None else int(size)))


@case("register_plugin", "plugin", "unregister_plugin")
def _plugins(client: AnyClient) -> None:
    class Plugin(InferenceServerClientPlugin):  # type: ignore[misc]
        def __call__(self, request: Any) -> None:
            request.headers["x-plugin"] = "1"

    plugin = Plugin()
    client.raw.register_plugin(plugin)
    assert client.raw.plugin() is plugin
    check(client.call("infer", "add_sub", inputs(client)))
    client.raw.unregister_plugin()
    assert client.raw.plugin() is None


@case("close")
def _close(client: AnyClient) -> None:
    client.call("close")


@case(
    "register_system_shared_memory", "get_system_shared_memory_status", "unregister_system_shared_memory",
    needs="system_shared_memory",
)  # fmt: skip
def _system_shared_memory(client: AnyClient) -> None:
    key = f"/pyserver-test-{uuid.uuid4()}"
    path = Path("/dev/shm") / key[1:]
    with path.open("w+b") as file:
        file.write(A.tobytes() + B.tobytes() + bytes(4064))
    try:
        client.call("register_system_shared_memory", "mine", key, 4096)
        assert "mine" in str(client.call("get_system_shared_memory_status", "mine"))
        given = [client.module.InferInput(name, [4], "FP32") for name in ("INPUT0", "INPUT1")]
        given[0].set_shared_memory("mine", 16)
        given[1].set_shared_memory("mine", 16, 16)
        output = client.module.InferRequestedOutput("OUTPUT0")
        output.set_shared_memory("mine", 16, 64)
        client.call("infer", "add_sub", given, outputs=[output])
        assert np.array_equal(np.frombuffer(path.read_bytes()[64:80], np.float32), A + B)
        client.call("unregister_system_shared_memory", "mine")
        assert "mine" not in str(client.call("get_system_shared_memory_status"))
        client.call("unregister_system_shared_memory")
    finally:
        path.unlink()


@case(
    "register_cuda_shared_memory", "get_cuda_shared_memory_status", "unregister_cuda_shared_memory",
    needs="cuda_shared_memory",
)  # fmt: skip
def _cuda_shared_memory(client: AnyClient) -> None:
    """Without a GPU there is nothing to register, and the server says so."""
    assert not client.call("get_cuda_shared_memory_status") or client.call("get_cuda_shared_memory_status") == {}
    with pytest.raises(InferenceServerException):
        client.call("register_cuda_shared_memory", "mine", b"bm8gaGFuZGxl", 0, 64)
    client.call("unregister_cuda_shared_memory")


@case("get_trace_settings", "update_trace_settings", needs="trace")
def _trace(client: AnyClient) -> None:
    client.call("update_trace_settings", settings={"trace_level": ["TIMESTAMPS"], "trace_rate": "500"})
    try:
        assert "500" in str(client.call("get_trace_settings"))
        client.call("update_trace_settings", "add_sub", {"trace_rate": "7"})
        assert "7" in str(client.call("get_trace_settings", "add_sub"))
    finally:
        client.call("update_trace_settings", "add_sub", {"trace_rate": None})
        client.call("update_trace_settings", settings={"trace_level": ["OFF"], "trace_rate": None})


@case("get_log_settings", "update_log_settings", needs="logging")
def _logging(client: AnyClient) -> None:
    client.call("update_log_settings", {"log_verbose_level": 1})
    try:
        assert "1" in str(client.call("get_log_settings"))
    finally:
        client.call("update_log_settings", {"log_verbose_level": 0})


EVERY = [
    pytest.param(kind, test, id=f"{kind}{test.__name__}")
    for kind in MODULES
    for test in dict.fromkeys(CASES[name] for name in methods(kind) if name in CASES)
]


@pytest.mark.parametrize(("kind", "test"), EVERY)
def test_methods(everything: ServerProcess, extensions: set[str], kind: str, test: Case) -> None:
    needs = next(NEEDS[name] for name, each in CASES.items() if each is test)
    with any_client(kind, everything) as client:
        if needs and needs not in extensions:
            with pytest.raises(InferenceServerException):
                test(client)
            pytest.xfail(f"the server has no {needs}")
        test(client)
