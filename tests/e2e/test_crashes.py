"""Processes that die: a model's, killed or by its own fault, and the server's."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Serve, of_this_suite
from tests.support.clients import Answer, ask, constant, index, infer_json, tensor
from tests.support.repositories import CONSTANT_CONFIG, copy_model, write_constant, write_model
from tests.support.shared_memory import SharedMemory
from tools import proc
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

AT_ONCE = 1.0
"""Seconds in which who waits hears of a death: a tenth is the promise, the rest is for a busy machine."""
GONE = 2.0
"""Seconds in which a killed server's models follow it."""


def sleep(server: ServerProcess, seconds: float) -> Answer:
    return infer_json(server, "slow", {"inputs": [tensor("SECONDS", "FP32", [1], [seconds])]})


def crash(server: ServerProcess, how: str) -> Answer:
    return infer_json(server, "crashing", {"inputs": [tensor("HOW", "BYTES", [1], [how])]})


def is_ready(server: ServerProcess, model: str) -> bool:
    return ask(server, "GET", f"/v2/models/{model}/ready").status == 200


def test_kill_9_in_flight(serve: Serve, tmp_path: Path) -> None:
    """Who was being served hears at once and why; who waited is served by the next process."""
    copy_model(tmp_path, "slow")
    server = serve(tmp_path)
    (stub,) = proc.stubs(server.pid)
    with ThreadPoolExecutor(2) as pool:
        executing = pool.submit(sleep, server, 61)
        server.wait_log("asleep for 61")
        waiting = pool.submit(sleep, server, 0)
        os.kill(stub, signal.SIGKILL)
        killed = time.monotonic()
        answer = executing.result(timeout=20)
        assert time.monotonic() - killed < AT_ONCE
        assert waiting.result(timeout=20).status in {200, 503}
    assert answer.status in {500, 503}, answer
    assert "SIGKILL" in answer.error
    assert "slow" in answer.error
    server.wait_until(lambda: is_ready(server, "slow"), 20, "to restart its model")
    assert proc.stubs(server.pid) != [stub]
    assert sleep(server, 0).status == 200


def test_readiness_tells_the_truth(serve: Serve, tmp_path: Path) -> None:
    """A model whose only process is dead is not ready, and with it the server, until the next one is."""
    source = """
import os, time
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        marker = os.path.join(args["model_repository"], "started")
        if os.path.exists(marker):
            print("a slow second start", flush=True)
            time.sleep(1.5)
        open(marker, "w").close()

    def execute(self, requests):
        return [pb_utils.InferenceResponse([]) for _ in requests]
"""
    write_model(tmp_path, "restarting", source, CONSTANT_CONFIG)
    write_constant(tmp_path, "other")
    server = serve(tmp_path)
    stub = next(pid for pid in proc.stubs(server.pid) if "restarting" in proc.command_line(pid))
    os.kill(stub, signal.SIGKILL)
    server.wait_until(lambda: not is_ready(server, "restarting"), AT_ONCE, "to see that its model is dead")
    assert not server.is_ready()
    assert server.get("/v2/health/live")[0] == 200
    assert constant(server, "other") == 1
    server.wait_until(lambda: is_ready(server, "restarting"), 20, "to restart its model")
    assert server.is_ready()


@pytest.mark.parametrize(("how", "says"), [("SIGSEGV", "SIGSEGV"), ("SIGABRT", "SIGABRT"), ("exit", "3")])
def test_a_crash_names_its_reason(serve: Serve, tmp_path: Path, how: str, says: str) -> None:
    copy_model(tmp_path, "crashing")
    server = serve(tmp_path)
    answer = crash(server, how)
    assert answer.status in {500, 503}, answer
    assert says in answer.error
    assert f"about to end by {how}" in answer.error, "the last lines of its standard error belong to the reason"
    server.wait_until(lambda: is_ready(server, "crashing"), 20, "to restart its model")
    assert crash(server, "no").status == 200


def test_a_crash_is_the_models_alone(serve: Serve, tmp_path: Path) -> None:
    copy_model(tmp_path, "crashing")
    write_constant(tmp_path, "other", 5)
    server = serve(tmp_path, options=("--strict-readiness", "false"))
    with ThreadPoolExecutor(8) as pool:
        others = [pool.submit(constant, server, "other") for _ in range(100)]
        assert crash(server, "SIGKILL").status in {500, 503}
        assert [other.result() for other in others] == [5] * 100


def test_crashing_over_and_over_costs_the_server_nothing(serve: Serve, tmp_path: Path) -> None:
    copy_model(tmp_path, "crashing")
    server = serve(tmp_path)
    descriptors, threads = proc.descriptors(server.pid), proc.threads(server.pid)
    for _ in range(3):
        crash(server, "SIGKILL")
        server.wait_until(lambda: is_ready(server, "crashing"), 30, "to restart its model")
    assert crash(server, "no").status == 200
    assert len(proc.stubs(server.pid)) == 1
    server.wait_until(lambda: proc.descriptors(server.pid) <= descriptors + 1, 5, "to close what the dead have left")
    assert proc.threads(server.pid) <= threads + 1
    assert index(server)["crashing", "1"]["state"] == "READY"


def test_kill_9_of_the_server_takes_its_models_with_it(serve: Serve, tmp_path: Path) -> None:
    copy_model(tmp_path, "slow")
    copy_model(tmp_path, "add_sub")
    shared = SharedMemory(of_this_suite)
    server = serve(tmp_path)
    stubs = proc.stubs(server.pid)
    assert len(stubs) == 3
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(sleep, server, 61)
        server.wait_log("asleep for 61")
        server.kill()
        killed = time.monotonic()
        assert isinstance(asked.exception(timeout=20), OSError)
    while any(proc.alive(stub) for stub in stubs):
        assert time.monotonic() - killed < GONE, [proc.command_line(stub) for stub in stubs if proc.alive(stub)]
        time.sleep(0.02)
    assert shared.look() == []
