"""One deadline for all steps of an ensemble: told in time, nothing more begun, counted as refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc

from tests.conftest import Serve
from tests.support.clients import Answer, infer_json, tensor
from tests.support.repositories import write_add, write_ensemble
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

PATIENT = "max_batch_size: 1 dynamic_batching { default_queue_policy { default_timeout_microseconds: 9000000 } }"
STRICT = "max_inflight_requests: 1"


@pytest.fixture(scope="module")
def server(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("deadlines")
    write_add(repository, "slow", sleep=0.5)
    write_add(repository, "patient", PATIENT, sleep=0.5)
    write_add(repository, "last")
    write_ensemble(repository, "two", ["slow X=IN -> Y=mid", "last X=mid -> Y=OUT"])
    write_ensemble(repository, "one", ["slow X=IN -> Y=OUT"])
    write_ensemble(repository, "queued", ["patient X=IN -> Y=mid", "last X=mid -> Y=OUT"])
    write_ensemble(repository, "gated", ["slow X=IN -> Y=mid", "last X=mid -> Y=OUT"], scheduling=STRICT)
    with make_server(repository) as running:
        yield running


def run(server: ServerProcess, model: str, **parameters: Any) -> tuple[Answer, float]:
    began = time.monotonic()
    answer = infer_json(server, model, {"inputs": [tensor("IN", "FP32", [1], [1])], "parameters": parameters})
    return answer, time.monotonic() - began


def executions(server: ServerProcess, model: str) -> float:
    return server.metric("nv_inference_exec_count", model=model)


def rejected(server: ServerProcess, model: str) -> float:
    return server.metric("nv_inference_request_failure", model=model, reason="REJECTED")


@pytest.mark.parametrize("model", ["two", "queued", "gated"])
def test_the_deadline_of_an_ensemble_holds_in_every_step(server: ServerProcess, model: str) -> None:
    """The first step is busy, or slow itself: the answer comes when the time is over, and the last step never runs."""
    before = executions(server, "last"), rejected(server, model)
    with ThreadPoolExecutor(1) as pool:
        if model != "two":
            running = pool.submit(run, server, model)
            time.sleep(0.1)
        answer, took = run(server, model, timeout=200_000)
        assert (answer.status, answer.headers["content-type"]) == (503, "application/json")
        assert "Request timeout expired" in answer.error
        assert 0.195 <= took <= 0.25
        if model != "two":
            assert running.result()[0].status == 200
    assert executions(server, "last") == before[0] + (model != "two")
    assert rejected(server, model) == before[1] + 1
    names = (model, "slow", "patient")
    server.wait_until(
        lambda: not any(server.metric("nv_inference_pending_request_count", model=name) for name in names), 2, "to end"
    )


def test_what_has_begun_with_its_last_step_is_finished(server: ServerProcess) -> None:
    assert run(server, "one", timeout=200_000)[0].status == 200


def test_the_deadline_of_a_grpc_call_ends_an_ensemble(server: ServerProcess) -> None:
    before = executions(server, "last")
    given = triton_grpc.InferInput("IN", [1], "FP32")
    given.set_data_from_numpy(np.array([1], np.float32))
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        with pytest.raises(triton_grpc.InferenceServerException, match="Deadline Exceeded"):
            client.infer("two", [given], client_timeout=0.2)
    canceled = {"model": "two", "reason": "CANCELED"}
    server.wait_until(lambda: server.metric("nv_inference_request_failure", **canceled) == 1, 2, "to count it")
    time.sleep(0.5)  # the step that ran is over
    assert executions(server, "last") == before
