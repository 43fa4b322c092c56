"""A model that does not come back is ended after the time that one execution may take: its own requests alone fail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Serve
from tests.support.clients import Answer, ask, constant, infer_json, tensor
from tests.support.repositories import write_constant, write_model
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

LIMIT = 0.5
SOURCE = """
import ctypes, os, time
import numpy as np
import triton_python_backend_utils as pb_utils


def patient(request):
    while not request.is_cancelled():
        time.sleep(0.01)


class TritonPythonModel:
    def execute(self, requests):
        print("begins", flush=True)
        for request in requests:
            how = request.inputs()[0].as_numpy()[0].decode()
            if how == "sleeps":
                time.sleep(600)
            elif how == "keeps the lock":
                ctypes.PyDLL(None).sleep(600)
            elif how == "is stopped":
                os.kill(os.getpid(), 19)
            elif how == "looks":
                patient(request)
            elif how == "quick":
                time.sleep(0.3)
        pid = pb_utils.Tensor("PID", np.array([os.getpid()], np.int64))
        return [pb_utils.InferenceResponse([pid]) for _ in requests]
"""
CONFIG = """
backend: "python"
input {{ name: "HOW" data_type: TYPE_STRING dims: [ 1 ] }}
output {{ name: "PID" data_type: TYPE_INT64 dims: [ 1 ] }}
parameters {{ key: "MAX_EXECUTION_SECS" value {{ string_value: "{limit}" }} }}
"""


@pytest.fixture(scope="module")
def limited(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("limited")
    write_model(repository, "limited", SOURCE, CONFIG.format(limit=LIMIT))
    write_model(repository, "looking", SOURCE, CONFIG.format(limit=3 * LIMIT))
    write_model(repository, "unlimited", SOURCE, CONFIG.format(limit=0))
    write_model(repository, "wrong", SOURCE, CONFIG.format(limit="soon"))
    write_constant(repository, "other", 5)
    options = ("--max-execution-secs", "0.2", "--exit-on-error=false", "--strict-readiness=false")
    with make_server(repository, options=(*options, "--model-control-mode=explicit", "--load-model=*")) as server:
        yield server


def run(server: ServerProcess, how: str, model: str = "limited") -> Answer:
    return infer_json(server, model, {"inputs": [tensor("HOW", "BYTES", [1], [how])]})


def revive(server: ServerProcess) -> int:
    """Have a model that serves, with its breaker closed; its process id."""
    server.wait_until(
        lambda: ask(server, "GET", "/v2/models/limited/ready").status == 200, 20, "to start its model again"
    )
    return int(run(server, "returns").json["outputs"][0]["data"][0])


@pytest.mark.parametrize("how", ["sleeps", "keeps the lock", "is stopped"])
def test_a_stuck_execution_is_ended_and_fails_alone(limited: ServerProcess, how: str) -> None:
    stuck_in = revive(limited)
    with ThreadPoolExecutor(2) as pool:
        began = time.monotonic()
        stuck = pool.submit(run, limited, how)
        time.sleep(0.1)
        behind = pool.submit(run, limited, "returns")
        while not stuck.done():
            assert constant(limited, "other") == 5
        assert LIMIT <= time.monotonic() - began < 4 * LIMIT
        assert stuck.result().status == 503
        reason = f"killed by the server: an execution took longer than {LIMIT} s (MAX_EXECUTION_SECS) while executing"
        assert f"'limited_0' is not healthy: {reason}" in stuck.result().error
        answer = behind.result(timeout=20)
    assert answer.status == 200, "who waited behind it is answered by the next process"
    assert answer.json["outputs"][0]["data"] != [stuck_in]


def test_a_model_that_looks_can_give_up_by_itself(limited: ServerProcess) -> None:
    before = run(limited, "returns", "looking").json["outputs"][0]["data"]
    began = time.monotonic()
    assert run(limited, "looks", "looking").json["outputs"][0]["data"] == before
    assert 0.8 * 3 * LIMIT <= time.monotonic() - began < 4 * LIMIT
    assert run(limited, "returns", "looking").json["outputs"][0]["data"] == before, "the next one has its time anew"


def test_it_is_one_execution_that_counts_not_many(limited: ServerProcess) -> None:
    before = revive(limited)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: run(limited, "quick"), range(4)))
    assert [answer.json["outputs"][0]["data"] for answer in answers] == [[before]] * 4


def test_the_models_own_limit_counts_for_more_than_the_flag(limited: ServerProcess) -> None:
    assert run(limited, "quick", "unlimited").status == 200


def test_what_is_no_number_fails_the_load(limited: ServerProcess) -> None:
    answer = ask(limited, "POST", "/v2/repository/models/wrong/load")
    assert answer.status == 400
    assert "parameter MAX_EXECUTION_SECS is 'soon', expected a number of seconds" in answer.error
