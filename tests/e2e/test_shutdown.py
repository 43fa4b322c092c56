"""SIGTERM: not ready at once, what was accepted is answered, exit code 0."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc

from tests.conftest import Serve
from tests.support.clients import constant, infer_json, tensor
from tests.support.repositories import CONSTANT, CONSTANT_CONFIG, copy_model, write_constant, write_model
from tools.process import ServerProcess

IN_FLIGHT = 4


def over_http(server: ServerProcess, seconds: float) -> float:
    answer = infer_json(server, "slow", {"inputs": [tensor("SECONDS", "FP32", [1], [seconds])]})
    return float(answer.json["outputs"][0]["data"][0])


def over_grpc(server: ServerProcess, seconds: float) -> float:
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        given = triton_grpc.InferInput("SECONDS", [1], "FP32")
        given.set_data_from_numpy(np.array([seconds], np.float32))
        return float(client.infer("slow", [given]).as_numpy("SECONDS")[0])


@pytest.mark.parametrize("infer", [over_http, over_grpc])
def test_what_was_accepted_is_answered(serve: Serve, tmp_path: Path, infer: object) -> None:
    """One request that runs and some that wait behind it."""
    copy_model(tmp_path, "slow")
    server = serve(tmp_path)
    assert callable(infer)
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        asked = [pool.submit(infer, server, 0.5) for _ in range(IN_FLIGHT)]
        server.wait_log("asleep for 0.5")
        server.wait_until(lambda: server.metric("nv_inference_pending_request_count") == IN_FLIGHT - 1, 10, "to queue")
        server.terminate()
        not_ready(server)
        assert [each.result(timeout=30) for each in asked] == [0.5] * IN_FLIGHT
    server.stop()


def not_ready(server: ServerProcess) -> None:
    """From now on readiness is refused, or nobody answers: but never 200."""
    server.wait_until(lambda: not server.is_ready(), 1, "to say that it is not ready")
    for _ in range(10):
        assert not server.is_ready()


@pytest.mark.ours
def test_health_answers_while_the_server_drains(serve: Serve, tmp_path: Path) -> None:
    copy_model(tmp_path, "slow")
    server = serve(tmp_path, options=("--drain-grace-secs", "1"))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(over_http, server, 1)
        server.wait_log("asleep for 1")
        server.terminate()
        server.wait_until(lambda: server.get("/v2/health/ready")[0] not in {0, 200}, 1, "to say that it is not ready")
        assert server.get("/v2/health/live")[0] == 200
        assert asked.result(timeout=10) == 1
    server.stop()


@pytest.mark.ours
def test_finalize_is_called(serve: Serve, tmp_path: Path) -> None:
    source = """
class TritonPythonModel:
    def execute(self, requests):
        return []

    def finalize(self):
        print("the last words", flush=True)
"""
    write_model(tmp_path, "last", source, None)
    server = serve(tmp_path)
    server.stop()
    assert "the last words" in server.log


@pytest.mark.ours
def test_sigterm_while_a_model_loads(serve: Serve, tmp_path: Path) -> None:
    source = """
import time

class TritonPythonModel:
    def initialize(self, args):
        print("loading for long", flush=True)
        time.sleep(60)

    def execute(self, requests):
        return []
"""
    write_model(tmp_path, "loading", source, None)
    write_constant(tmp_path, "other")
    server = serve(tmp_path, ready=False, options=("--exit-timeout-secs", "2"))
    server.wait_log("loading for long")
    assert server.get("/v2/health/live")[0] == 200
    assert not server.is_ready()
    asked = time.monotonic()
    server.stop(timeout=10)
    assert time.monotonic() - asked < 6


@pytest.mark.ours
def test_a_second_sigterm_hurries(serve: Serve, tmp_path: Path) -> None:
    copy_model(tmp_path, "slow")
    server = serve(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(over_http, server, 61)
        server.wait_log("asleep for 61")
        server.terminate()
        not_ready(server)
        server.terminate()
        assert server.exited(2), "two seconds after the second SIGTERM it still runs"
        assert asked.exception(timeout=10)


def test_an_idle_connection_does_not_hold_the_server_up(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "other")
    server = serve(tmp_path, options=("--exit-timeout-secs", "5"))
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        assert client.is_server_live()
        asked = time.monotonic()
        server.stop(timeout=10)
    assert time.monotonic() - asked < 5


CALLS = """
import time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        said = [self.asked(), print("between two calls", flush=True), time.sleep(0.7), self.asked()]
        value = pb_utils.Tensor("VALUE", np.array([said[0] + said[3]], np.int32))
        return [pb_utils.InferenceResponse([value]) for _ in requests]

    def asked(self):
        asked = pb_utils.Tensor("ASKED", np.array([True]))
        answer = pb_utils.InferenceRequest(model_name="callee", inputs=[asked], requested_output_names=[]).exec()
        return answer.output_tensors()[0].as_numpy()[0]

    def finalize(self):
        print("the caller ends", flush=True)
"""


@pytest.mark.ours
def test_who_calls_goes_before_who_is_called(serve: Serve, tmp_path: Path) -> None:
    """SIGTERM between two calls of an execution: the second one is answered as well."""
    write_model(tmp_path, "a_caller", CALLS, CONSTANT_CONFIG)
    write_model(
        tmp_path,
        "callee",
        f"{CONSTANT.format(value=21)}\n    def finalize(self):\n        print('the callee ends', flush=True)\n",
        CONSTANT_CONFIG,
    )
    server = serve(tmp_path, options=("--model-control-mode=explicit", "--load-model=*"))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(constant, server, "a_caller")
        server.wait_log("between two calls")
        server.terminate()
        assert asked.result(timeout=20) == 42
    server.stop()
    ends = [line.rpartition("the ")[2] for line in server.lines if " ends" in line]
    assert ends == ["caller ends", "callee ends"]
