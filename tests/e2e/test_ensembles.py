"""Ensembles over real models: the graph, its errors, its memory."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http

from tests.conftest import Serve
from tests.e2e.test_models import ERRORS
from tests.support.clients import ask, index, infer_json, tensor
from tests.support.ensembles import DIAMOND, EXPLICIT, control, counts, run, state, values, write_models
from tests.support.repositories import (
    CONSTANT_CONFIG,
    copy_model,
    write_add,
    write_ensemble,
    write_model,
)
from tools.process import ServerProcess


@pytest.fixture(scope="module")
def models(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("ensembles")
    write_models(repository)
    with make_server(repository) as running:
        yield running


def test_a_graph_runs_by_its_data(models: ServerProcess) -> None:
    answer = run(models, "diamond", [0, 1.5], id="q7")
    assert values(answer) == {"OUT": [114, 117]}
    assert {key: answer.json[key] for key in ("model_name", "model_version", "id")} == {
        "model_name": "diamond", "model_version": "1", "id": "q7",
    }  # fmt: skip
    assert values(run(models, "fan", [0])) == {"O1": [1], "O10": [10], "O100": [100]}


def test_over_grpc(models: ServerProcess) -> None:
    data = np.arange(4, dtype=np.float32)
    given = triton_grpc.InferInput("IN", [4], "FP32")
    given.set_data_from_numpy(data)
    with triton_grpc.InferenceServerClient(models.grpc) as client:
        np.testing.assert_array_equal(client.infer("diamond", [given]).as_numpy("OUT"), 2 * data + 114)


def test_an_ensemble_in_an_ensemble(models: ServerProcess) -> None:
    assert values(run(models, "nested", [0])) == {"OUT": [115]}
    answer = run(models, "nested", [-5])
    assert (
        answer.error
        == "in ensemble 'nested', step 'diamond': in ensemble 'diamond', step 'plus1': refused as UNAVAILABLE"
    )


def test_versions_are_pinned(models: ServerProcess) -> None:
    asked = {"inputs": [tensor("IN", "BOOL", [1], [True])]}
    assert values(infer_json(models, "pinned", asked)) == {"A": [1], "B": [2]}


def test_only_the_steps_that_the_wanted_outputs_need_run(models: ServerProcess) -> None:
    before = [counts(models, f"plus{number}")[1] for number in (1, 10, 100)]
    assert values(run(models, "fan", [0], "O10")) == {"O10": [10]}
    after = [counts(models, f"plus{number}")[1] for number in (1, 10, 100)]
    assert after == [before[0], before[1] + 1, before[2]]
    answer = run(models, "fan", [0], "O10 NOPE")
    assert (answer.status, "unexpected inference output 'NOPE' for model 'fan'" in answer.error) == (400, True)


def test_steps_run_side_by_side(models: ServerProcess) -> None:
    started = time.monotonic()
    assert values(run(models, "side_by_side", [1])) == {"A": [1], "B": [1]}
    assert time.monotonic() - started < 0.55


def test_models_with_and_without_batches(models: ServerProcess) -> None:
    assert values(run(models, "mixed", [0, 1, 2])) == {"OUT": [6, 7, 8]}


def test_optional_inputs(models: ServerProcess) -> None:
    assert values(run(models, "optional", [1])) == {"OUT": [1]}
    both = {"inputs": [tensor(name, "FP32", [1], [2]) for name in ("IN", "MAYBE")]}
    assert values(infer_json(models, "optional", both)) == {"OUT": [4]}


@pytest.mark.parametrize(("number", "code"), list(enumerate(ERRORS)))
def test_an_error_of_a_step_keeps_its_code_and_says_whose_it_is(models: ServerProcess, number: int, code: str) -> None:
    answer = run(models, "diamond", [-1 - number])
    assert (answer.status, answer.error) == (ERRORS[code], f"in ensemble 'diamond', step 'plus1': refused as {code}")


def test_an_error_over_grpc(models: ServerProcess) -> None:
    given = triton_grpc.InferInput("IN", [1], "FP32")
    given.set_data_from_numpy(np.array([-5], np.float32))
    with triton_grpc.InferenceServerClient(models.grpc) as client:
        with pytest.raises(triton_grpc.InferenceServerException) as refused:
            client.infer("diamond", [given])
    assert refused.value.status() == str(grpc.StatusCode.UNAVAILABLE)
    assert "in ensemble 'diamond', step 'plus1': refused as UNAVAILABLE" in refused.value.message()


def test_what_the_ensemble_itself_does_not_take(models: ServerProcess) -> None:
    answer = infer_json(models, "diamond", {"inputs": [tensor("IN", "FP64", [1], [1])]})
    assert (answer.status, "expects 'FP32'" in answer.error) == (400, True)
    answer = infer_json(models, "diamond", {"inputs": []})
    assert (answer.status, "expected 1 inputs but got 0" in answer.error) == (400, True)
    too_many = infer_json(models, "mixed", {"inputs": [tensor("IN", "FP32", [2, 2], [1, 2, 3, 4])]})
    assert (too_many.status, "unexpected shape" in too_many.error) == (400, True)


def test_documents(models: ServerProcess) -> None:
    metadata = ask(models, "GET", "/v2/models/diamond").json
    assert (metadata["platform"], metadata["versions"]) == ("ensemble", ["1"])
    assert metadata["inputs"] == [{"name": "IN", "datatype": "FP32", "shape": [-1]}]
    config = ask(models, "GET", "/v2/models/diamond/config").json
    assert (config["platform"], config["backend"], config["instance_group"]) == ("ensemble", "", [])
    assert [step["model_name"] for step in config["ensemble_scheduling"]["step"]] == [
        "plus2", "plus10", "plus100", "plus1",
    ]  # fmt: skip
    assert ask(models, "GET", "/v2/models/diamond/ready").status == 200


def test_statistics_and_metrics_of_the_ensemble_and_its_steps(serve: Serve, tmp_path: Path) -> None:
    write_add(tmp_path, "plus1", add=1)
    write_ensemble(tmp_path, "twice", ["plus1 X=IN -> Y=mid", "plus1 X=mid -> Y=OUT"])
    server = serve(tmp_path)
    for data in ([0.0], [1.0], [-5.0]):
        run(server, "twice", data)
    (entry,) = ask(server, "GET", "/v2/models/twice/stats").json["model_stats"]
    found = {name: entry["inference_stats"][name]["count"] for name in ("success", "fail", "queue", "compute_infer")}
    assert found == {"success": 2, "fail": 1, "queue": 2, "compute_infer": 2}
    assert (entry["inference_count"], entry["execution_count"]) == (2, 2)
    assert [batch["batch_size"] for batch in entry["batch_stats"]] == [1]
    assert counts(server, "plus1") == (4, 5)
    for name, value in (("request_success", 2), ("count", 2), ("exec_count", 2), ("pending_request_count", 0)):
        assert server.metric(f"nv_inference_{name}", model="twice", version="1") == value
    reasons = {reason: server.metric("nv_inference_request_failure", model="twice", version="1", reason=reason)
               for reason in ("OTHER", "BACKEND", "REJECTED", "CANCELED")}  # fmt: skip
    assert reasons == {"OTHER": 1, "BACKEND": 0, "REJECTED": 0, "CANCELED": 0}


@pytest.mark.ours
def test_memory_of_every_step_comes_back(serve: Serve, tmp_path: Path) -> None:
    """Two dozen requests of 4 MB through models whose memory holds few of them."""
    for number in (1, 10, 100):
        write_add(tmp_path, f"plus{number}", add=number)
    write_add(tmp_path, "plus2", inputs="A B", add=2)
    write_ensemble(tmp_path, "diamond", DIAMOND)
    write_ensemble(tmp_path, "wrong", ["plus1 X=IN -> Y=mid", "plus2 A=mid B=IN -> Y=OUT", "plus10 X=mid -> Y=O2"],
                   outputs="OUT O2")  # fmt: skip
    server = serve(tmp_path, options=("--max-model-memory", str(48 << 20)))
    data = np.zeros(1 << 20, np.float32)
    given = triton_http.InferInput("IN", [1 << 20], "FP32")
    with triton_http.InferenceServerClient(server.http) as client:
        for round_ in range(24):
            data[0] = -3 if round_ % 4 == 3 else round_
            given.set_data_from_numpy(data)
            if round_ % 4 == 3:
                with pytest.raises(triton_http.InferenceServerException, match="in ensemble 'wrong', step"):
                    client.infer("wrong", [given])
            else:
                answer = client.infer("diamond", [given]).as_numpy("OUT")
                assert (answer[0], answer[-1]) == (2 * round_ + 114, 114)


@pytest.mark.ours
def test_a_client_that_leaves_stops_the_steps(serve: Serve, tmp_path: Path) -> None:
    write_add(tmp_path, "long", sleep=20)
    write_add(tmp_path, "never")
    write_ensemble(tmp_path, "patient", ["long X=IN -> Y=mid", "never X=mid -> Y=OUT"])
    server = serve(tmp_path)
    body = json.dumps({"id": "leaves", "inputs": [tensor("IN", "FP32", [1], [1])]})
    runs, waits = (http.client.HTTPConnection(server.http, timeout=30) for _ in range(2))
    runs.request("POST", "/v2/models/patient/infer", body)
    waits.request("POST", "/v2/models/patient/infer", body)
    pending = {"model": "long", "version": "1"}
    server.wait_until(lambda: server.metric("nv_inference_pending_request_count", **pending) == 1, 5, "to let one wait")
    waits.close()
    runs.close()
    server.wait_log("seen: cancelled leaves", 5)
    failed = {"model": "patient", "version": "1", "reason": "CANCELED"}
    server.wait_until(lambda: server.metric("nv_inference_request_failure", **failed) == 2, 5, "to count them")
    assert counts(server, "never") == (0, 0)
    assert counts(server, "long")[1] == 1


@pytest.mark.ours
def test_the_queue_of_an_ensemble_is_bounded(serve: Serve, tmp_path: Path) -> None:
    """Two run, two wait, and the fifth is refused at once."""
    write_add(tmp_path, "slow", sleep=0.5)
    write_ensemble(tmp_path, "small", ["slow X=IN -> Y=OUT"])
    server = serve(tmp_path, options=("--max-queue-requests", "2"))
    with ThreadPoolExecutor(4) as pool:
        accepted = [pool.submit(run, server, "small", [1]) for _ in range(4)]
        gauge = {"model": "small", "version": "1"}
        server.wait_until(
            lambda: server.metric("nv_inference_pending_request_count", **gauge) == 2, 10, "to let two wait"
        )
        started = time.monotonic()
        refused = run(server, "small", [1], id="five")
        assert time.monotonic() - started < 0.5
        assert [answer.result().status for answer in accepted] == [200] * 4
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert "[request id: five] Exceeds maximum queue size for model 'small': 2 requests wait" in refused.error


@pytest.mark.ours
def test_a_full_queue_of_a_step(serve: Serve, tmp_path: Path) -> None:
    write_add(tmp_path, "slow", "max_batch_size: 1 dynamic_batching { default_queue_policy { max_queue_size: 1 } }",
              sleep=0.4)  # fmt: skip
    write_ensemble(tmp_path, "large", ["slow X=IN -> Y=OUT"])
    server = serve(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        answers = [answer.result() for answer in [pool.submit(run, server, "large", [1]) for _ in range(6)]]
    refused = [answer for answer in answers if answer.status != 200]
    assert refused
    for answer in refused:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "in ensemble 'large', step 'slow': " in answer.error
        assert "Exceeds maximum queue size for model 'slow'" in answer.error


@pytest.mark.ours
def test_max_inflight_requests_holds_requests_back(serve: Serve, tmp_path: Path) -> None:
    write_add(tmp_path, "slow", "instance_group { count: 3 kind: KIND_CPU }", sleep=0.2)
    write_ensemble(tmp_path, "single", ["slow X=IN -> Y=OUT"], scheduling="max_inflight_requests: 1")
    write_ensemble(tmp_path, "free", ["slow X=IN -> Y=OUT"])
    server = serve(tmp_path)
    took = {}
    for model in ("free", "single"):
        with ThreadPoolExecutor(3) as pool:
            started = time.monotonic()
            assert [answer.status for answer in pool.map(lambda _, model=model: run(server, model, [1]), range(3))] == [
                200, 200, 200,
            ]  # fmt: skip
            took[model] = time.monotonic() - started
    assert took["single"] > 0.6
    assert took["free"] < took["single"]


REFUSED = {
    "nobody": (["nope X=IN -> Y=OUT"], "contains models that are not available or ambiguous: nope"),
    "pin": (["plus1:7 X=IN -> Y=OUT"], "plus1 version 7"),
    "unmapped": (["plus2 A=IN -> Y=OUT"], "input B in model plus2 is not mapped to any ensemble tensors"),
    "no_input": (["plus1 Z=IN -> Y=OUT"], "ensemble tensor IN is mapping to non-existing input Z in model plus1"),
    "types": (["texts TEXT=IN -> TEXT=OUT"], "inconsistent data type"),
    "unused": (["plus1 X=IN -> Y=mid"], "ensemble output 'OUT' is not used"),
    "knot": (["plus2 A=IN B=b -> Y=a", "plus1 X=a -> Y=b", "plus1 X=b -> Y=OUT"], "wait for each other"),
    "self": (["self IN=IN -> OUT=OUT"], "circular dependency between ensembles"),
    "round": (["about IN=IN -> OUT=OUT"], "circular dependency between ensembles: "),
    "streams": (
        ["stream X=IN -> Y=a", "stream X=IN -> Y=b", "plus2 A=a B=b -> Y=OUT"],
        "step 'plus2' receives inputs originated from different decoupled models, 'stream' (step 0) and 'stream' (step",
    ),
    "broken": (["raises ASKED=IN -> VALUE=OUT"], "no luck today"),
}


@pytest.fixture(scope="module")
def refusing(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("refused")
    write_add(repository, "plus1")
    write_add(repository, "plus2", inputs="A B")
    copy_model(repository, "printing", under="texts")
    write_add(repository, "stream", "model_transaction_policy { decoupled: true }")
    raises = 'class TritonPythonModel:\n    def initialize(self, args):\n        raise RuntimeError("no luck today")\n'
    write_model(repository, "raises", raises, CONSTANT_CONFIG)
    write_ensemble(repository, "about", ["round IN=IN -> OUT=OUT"])
    for name, (steps, _) in REFUSED.items():
        write_ensemble(repository, name, steps)
    server = make_server(repository, options=(*EXPLICIT, "--load-model", "*", "--exit-on-error", "false"))
    server.start(ready=False)
    server.wait_until(lambda: state(server, "round")[0] == "UNAVAILABLE", 30, "to refuse them all")
    yield server
    server.stop()


@pytest.mark.ours
@pytest.mark.parametrize("name", REFUSED)
def test_an_ensemble_that_cannot_be(refusing: ServerProcess, name: str) -> None:
    says = REFUSED[name][1]
    refusing.wait_until(lambda: "plus1" in str(index(refusing)) and name in str(index(refusing)), 20, "to try it")
    answer = control(refusing, name, "load")
    assert answer.status in {400, 404, 501}, answer
    assert says in answer.error
    assert name in answer.error
    assert infer_json(refusing, name, {"inputs": []}).status == 404


CALLS = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        given = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
        asked = pb_utils.Tensor("IN", given)
        name = "around" if given[0] < 0 else "chain"
        call = pb_utils.InferenceRequest(model_name=name, requested_output_names=["OUT"], inputs=[asked])
        answer = call.exec()
        if answer.has_error():
            return pb_utils.InferenceResponse(error=answer.error())
        return pb_utils.InferenceResponse([pb_utils.Tensor("Y", answer.output_tensors()[0].as_numpy())])
"""


@pytest.mark.ours
def test_a_model_calls_ensembles(serve: Serve, tmp_path: Path) -> None:
    """And is told at once if it would be a step of what it waits for."""
    write_add(tmp_path, "plus1")
    write_model(tmp_path, "calls", CALLS,
                'backend: "python"\ninput { name: "X" data_type: TYPE_FP32 dims: [ -1 ] }\n'
                'output { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] }\n')  # fmt: skip
    write_ensemble(tmp_path, "chain", ["plus1 X=IN -> Y=mid", "plus1 X=mid -> Y=OUT"])
    write_ensemble(tmp_path, "around", ["plus1 X=IN -> Y=mid", "calls X=mid -> Y=OUT"])
    server = serve(tmp_path)
    answer = infer_json(server, "calls", {"inputs": [tensor("X", "FP32", [2], [0, 1])]})
    assert (answer.status, answer.json["outputs"][0]["data"]) == (200, [2, 3])
    assert values(run(server, "around", [0])) == {"OUT": [3]}
    refused = infer_json(server, "calls", {"inputs": [tensor("X", "FP32", [1], [-9])]})
    assert "the call would wait for ever, calls -> around -> calls" in refused.error
    assert values(run(server, "around", [0])) == {"OUT": [3]}
