"""The response cache over real servers: hits, exact keys, statistics, eviction, and Redis that comes and goes."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http

from tests.conftest import Serve
from tests.support.clients import Answer, ask, infer_json, tensor
from tests.support.ensembles import EXPLICIT, control, counts, values
from tests.support.redis import RedisServer
from tests.support.repositories import write_add, write_ensemble, write_model
from tools.process import ServerProcess

CACHED = "response_cache { enable: true }\n"
ECHO = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.one(request) for request in requests]

    def one(self, request):
        said = json.loads(request.parameters() or "{}").get("lang", "none")
        tensors = [pb_utils.Tensor("SAID", np.array([said.encode()], np.object_))]
        tensors += [pb_utils.Tensor("Y", tensor.as_numpy()) for tensor in request.inputs()]
        return pb_utils.InferenceResponse([t for t in tensors if t.name() in request.requested_output_names()])
"""
ECHO_CONFIG = (
    'backend: "python" input { name: "X" data_type: TYPE_FP32 dims: [ -1, -1 ] }'
    ' output { name: "Y" data_type: TYPE_FP32 dims: [ -1, -1 ] }'
    ' output { name: "SAID" data_type: TYPE_STRING dims: [ 1 ] }'
)
CALLS = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.one(request) for request in requests]

    def one(self, request):
        call = pb_utils.InferenceRequest(model_name="cached", requested_output_names=[], inputs=request.inputs())
        answer = call.exec()
        if answer.has_error():
            return pb_utils.InferenceResponse(error=answer.error())
        return pb_utils.InferenceResponse(answer.output_tensors())
"""
ADD_CONFIG = (
    'backend: "python" input { name: "X" data_type: TYPE_FP32 dims: [ -1 ] }'
    ' output { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] }'
)


def write_models(repository: Path) -> None:
    write_add(repository, "cached", CACHED, add=1)
    write_add(repository, "plain", add=1)
    write_add(repository, "batched", f"{CACHED}max_batch_size: 4 dynamic_batching {{ }}", add=1)
    write_model(repository, "calls", CALLS, ADD_CONFIG)
    write_model(repository, "echo", ECHO, f"{CACHED}{ECHO_CONFIG}")
    target = write_ensemble(repository, "graph", ["plain X=IN -> Y=OUT"])
    (target / "config.pbtxt").write_text((target / "config.pbtxt").read_text() + CACHED)


@pytest.fixture(scope="module")
def caching(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("cached")
    write_models(repository)
    with make_server(repository, options=("--cache-config", "local,size=1048576")) as running:
        yield running


def add(server: ServerProcess, model: str, data: list[float], name: str = "X", **more: Any) -> Answer:
    return infer_json(server, model, {"inputs": [tensor(name, "FP32", [len(data)], data)], **more})


def cache_counts(server: ServerProcess, model: str) -> tuple[int, int, int]:
    """Hits, misses, and executions."""
    (entry,) = ask(server, "GET", f"/v2/models/{model}/stats").json["model_stats"]
    counted = entry["inference_stats"]
    return counted["cache_hit"]["count"], counted["cache_miss"]["count"], entry["execution_count"]


def test_a_hit_is_the_same_answer_with_the_new_id(caching: ServerProcess) -> None:
    before = cache_counts(caching, "cached")
    first = add(caching, "cached", [1, 2, 3], id="one").json
    second = add(caching, "cached", [1, 2, 3], id="two").json
    assert (first.pop("id"), second.pop("id")) == ("one", "two")
    assert first == second
    assert second["outputs"][0]["data"] == [2, 3, 4]
    hits, misses, executions = (after - was for after, was in zip(cache_counts(caching, "cached"), before, strict=True))
    assert (hits, misses, executions) == (1, 1, 1)


def test_a_hit_over_any_protocol(caching: ServerProcess) -> None:
    data = np.array([0.5, 7], np.float32)
    for module, address in ((triton_http, caching.http), (triton_grpc, caching.grpc), (triton_http, caching.http)):
        given = module.InferInput("X", [2], "FP32")
        given.set_data_from_numpy(data)
        with module.InferenceServerClient(address) as client:
            before = cache_counts(caching, "cached")[0]
            np.testing.assert_array_equal(client.infer("cached", [given]).as_numpy("Y"), data + 1)
    assert cache_counts(caching, "cached")[0] == before + 1


def test_a_stream_and_a_call_of_a_model_are_looked_up(caching: ServerProcess) -> None:
    """Each of them finds what the other one left, errors are told, and a stream's id is its own."""
    before = cache_counts(caching, "cached")
    given = triton_grpc.InferInput("X", [1], "FP32")
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton_grpc.InferenceServerClient(caching.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for value, name in ((41, "first"), (41, "second"), (-5, "refused")):
            given.set_data_from_numpy(np.array([value], np.float32))
            client.async_stream_infer("cached", [given], request_id=name)
            result, error = answers.get(timeout=10)
            if value < 0:
                assert "refused as UNAVAILABLE" in str(error)
            else:
                assert (result.get_response().id, result.as_numpy("Y").tolist()) == (name, [42])
        client.stop_stream()
    assert values(add(caching, "calls", [41])) == {"Y": [42]}
    hits, misses, executions = (after - was for after, was in zip(cache_counts(caching, "cached"), before, strict=True))
    assert (hits, misses, executions) == (2, 2, 2)


def test_only_models_that_ask_for_it(caching: ServerProcess) -> None:
    before = cache_counts(caching, "plain")
    for _ in range(2):
        assert values(add(caching, "plain", [1])) == {"Y": [2]}
    hits, misses, executions = cache_counts(caching, "plain")
    assert (hits, misses, executions) == (0, 0, before[2] + 2)
    page = caching.get("/metrics", caching.metrics)[1].decode()
    assert 'nv_cache_num_hits_per_model{model="cached"' in page
    assert 'nv_cache_num_hits_per_model{model="plain"' not in page


def test_batches(caching: ServerProcess) -> None:
    body = {"inputs": [tensor("X", "FP32", [2, 3], [0, 1, 2, 3, 4, 5])]}
    for _ in range(3):
        assert values(infer_json(caching, "batched", body)) == {"Y": [1, 2, 3, 4, 5, 6]}
    assert cache_counts(caching, "batched") == (2, 1, 1)


@pytest.mark.ours  # Triton's key has neither shapes nor parameters nor outputs
def test_keys_are_exact(caching: ServerProcess) -> None:
    def echo(shape: list[int], **more: Any) -> dict[str, Any]:
        answer = infer_json(caching, "echo", {"inputs": [tensor("X", "FP32", shape, [1, 2, 3, 4])], **more})
        assert answer.status == 200, answer
        return {output["name"]: (output["shape"], output["data"]) for output in answer.json["outputs"]}

    for _ in range(2):
        assert echo([2, 2])["Y"] == ([2, 2], [1, 2, 3, 4])
        assert echo([4, 1])["Y"] == ([4, 1], [1, 2, 3, 4])
        for lang in ("de", "en"):
            assert echo([2, 2], parameters={"lang": lang})["SAID"] == ([1], [lang])
        assert list(echo([2, 2], outputs=[{"name": "SAID"}])) == ["SAID"]
        assert list(echo([2, 2], outputs=[{"name": "Y"}])) == ["Y"]
    assert cache_counts(caching, "echo") == (6, 6, 6)


def test_errors_are_not_kept(caching: ServerProcess) -> None:
    before = cache_counts(caching, "cached")
    for _ in range(2):
        answer = add(caching, "cached", [-5])
        assert (answer.status, answer.error) == (503, "refused as UNAVAILABLE")
    hits, _, executions = cache_counts(caching, "cached")
    assert (hits, executions) == (before[0], before[2] + 2)


def test_an_ensemble(caching: ServerProcess) -> None:
    before = counts(caching, "plain")[0]
    for _ in range(3):
        assert values(add(caching, "graph", [41], "IN")) == {"OUT": [42]}
    assert cache_counts(caching, "graph") == (2, 1, 1)
    assert counts(caching, "plain")[0] == before + 1, "a hit runs no step"
    assert add(caching, "graph", [-3], "IN").status == 404
    assert add(caching, "graph", [-3], "IN").status == 404


def test_metrics(caching: ServerProcess) -> None:
    for _ in range(2):
        add(caching, "cached", [99])
    labels = {"model": "cached", "version": "1"}
    hits, misses, executions = cache_counts(caching, "cached")
    assert caching.metric("nv_cache_num_hits_per_model", **labels) == hits > 0
    assert caching.metric("nv_cache_num_misses_per_model", **labels) == misses > 0
    assert caching.metric("nv_cache_hit_duration_per_model", **labels) > 0
    assert caching.metric("nv_cache_miss_duration_per_model", **labels) > 0
    assert caching.metric("nv_inference_request_success", **labels) > caching.metric("nv_inference_count", **labels)
    assert caching.metric("nv_inference_exec_count", **labels) == executions
    assert 0 < caching.metric("nv_cache_util") < 1
    lookups = caching.metric("nv_cache_num_lookups")
    assert lookups == caching.metric("nv_cache_num_hits") + caching.metric("nv_cache_num_misses") > 0
    assert caching.metric("nv_cache_num_entries") > 0
    for name in ("num_evictions", "lookup_duration", "insertion_duration"):
        assert caching.metric(f"nv_cache_{name}") >= 0


@pytest.mark.ours
def test_what_was_not_used_for_longest_goes_first(serve: Serve, tmp_path: Path) -> None:
    write_add(tmp_path, "cached", CACHED)
    server = serve(tmp_path, options=("--response-cache-byte-size", "20000"))
    zeros = [0.0] * 1000  # 4000 bytes: four answers fit
    for first in (1, 2, 3, 4, 1, 5):
        add(server, "cached", [first, *zeros])
    assert cache_counts(server, "cached")[:2] == (1, 5)
    for first in (1, 3, 4, 5):
        add(server, "cached", [first, *zeros])
    assert cache_counts(server, "cached")[:2] == (5, 5)
    add(server, "cached", [2, *zeros])
    assert cache_counts(server, "cached")[:2] == (5, 6)
    assert server.metric("nv_cache_num_evictions") == 2
    assert 0.5 < server.metric("nv_cache_util") <= 1
    for _ in range(2):
        add(server, "cached", [0.0] * 10_000)
    assert cache_counts(server, "cached")[:2] == (5, 8), "what is larger than the cache is not kept"


@pytest.mark.ours
def test_a_model_loaded_anew_answers_anew(serve: Serve, tmp_path: Path) -> None:
    write_models(tmp_path)
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "*", "--cache-config", "local,size=1048576"))
    assert values(add(server, "cached", [0])) == {"Y": [1]}
    assert values(add(server, "graph", [0], "IN")) == {"OUT": [1]}
    write_add(tmp_path, "cached", CACHED, add=7)
    write_add(tmp_path, "plain", add=8)
    for name in ("cached", "plain"):
        assert control(server, name, "load").status == 200
    assert values(add(server, "cached", [0])) == {"Y": [7]}
    assert values(add(server, "graph", [0], "IN")) == {"OUT": [8]}


@pytest.mark.ours
def test_large_requests_that_hit_give_their_memory_back(serve: Serve, tmp_path: Path) -> None:
    write_add(tmp_path, "cached", CACHED)
    options = ("--cache-config", "local,size=67108864", "--max-model-memory", str(48 << 20))
    server = serve(tmp_path, options=options)
    data = np.zeros(1 << 20, np.float32)
    given = triton_http.InferInput("X", [1 << 20], "FP32")
    given.set_data_from_numpy(data)
    with triton_http.InferenceServerClient(server.http) as client:
        for _ in range(14):
            assert client.infer("cached", [given]).as_numpy("Y")[0] == 1
    assert cache_counts(server, "cached") == (13, 1, 1)


@pytest.mark.ours
def test_redis_is_shared_and_may_go(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("redis")
    (tmp_path / "redis").mkdir()
    write_models(tmp_path / "models")
    with RedisServer(tmp_path / "redis") as redis:
        options = ("--cache-config", f"redis,host=127.0.0.1,port={redis.port},timeout_ms=2000")
        one, other = (serve(tmp_path / "models", options=options) for _ in range(2))
        assert values(add(one, "cached", [1, 2])) == {"Y": [2, 3]}
        one.wait_until(lambda: one.metric("nv_cache_insertion_duration") > 0, 10, "to keep the answer")
        assert values(add(other, "cached", [1, 2], id="x")) == {"Y": [2, 3]}
        assert cache_counts(other, "cached") == (1, 0, 0)
        assert cache_counts(one, "cached") == (0, 1, 1)
        redis.stop()
        assert values(add(other, "cached", [1, 2])) == {"Y": [2, 3]}
        assert cache_counts(other, "cached") == (1, 1, 1)
        other.wait_log("Redis at 127.0.0.1")
        redis.start()
        said = json.dumps({"inputs": [tensor("X", "FP32", [1], [5])]}).encode()

        def hit() -> bool:
            assert ask(other, "POST", "/v2/models/cached/infer", said).status == 200
            return cache_counts(other, "cached")[0] == 2

        other.wait_until(hit, 10, "to use Redis again")
