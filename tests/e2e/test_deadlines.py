"""Deadlines and clients that go, over real servers: answered in time, never executed, each counted once."""

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

from tests.conftest import Serve
from tests.support.batching import ask_rows, executed, together, write_rows
from tests.support.clients import tensor
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

LONG = 0.6
"""Seconds that an execution takes."""
MODELS = {
    "plain": "",
    "ahead": "dynamic_batching {}",
    "default": "dynamic_batching { default_queue_policy { default_timeout_microseconds: 100000 } }",
}


@pytest.fixture(scope="module")
def server(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("deadlines")
    for name, config in MODELS.items():
        write_rows(repository, name, config, LONG, batch=1)
    with make_server(repository) as running:
        yield running


def reasons(server: ServerProcess, model: str) -> dict[str, int]:
    """Failures by reason."""
    return {
        reason: int(server.metric("nv_inference_request_failure", model=model, reason=reason))
        for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER")
    }


@pytest.mark.parametrize(
    ("model", "parameters"), [("plain", {"timeout": 100_000}), ("ahead", {"timeout": 100_000}), ("default", {})]
)
def test_who_waits_too_long_is_told_in_time_and_never_runs(
    server: ServerProcess, model: str, parameters: dict[str, int]
) -> None:
    before = reasons(server, model)["REJECTED"]
    with ThreadPoolExecutor(1) as pool:
        (running,) = together(pool, server, model, 1)
        time.sleep(0.1)
        began = time.monotonic()
        answer = ask_rows(server, model, 77, **parameters)
        took = time.monotonic() - began
        assert running.result().status == 200
    assert answer.status == 503
    assert "Request timeout expired" in answer.error
    assert 0.095 <= took <= 0.15
    assert "[[77]]" not in executed(server)
    assert reasons(server, model)["REJECTED"] == before + 1
    assert server.metric("nv_inference_pending_request_count", model=model) == 0


def hang_up(server: ServerProcess, model: str, value: int, seconds: float) -> float:
    """Ask and go away after `seconds`; when (time.time) that was."""
    connection = http.client.HTTPConnection(server.http, timeout=10)
    body = json.dumps({"inputs": [tensor("X", "INT32", [1, 1], [value])]})
    connection.request("POST", f"/v2/models/{model}/infer", body)
    time.sleep(seconds)
    connection.close()
    return time.time()


def test_a_running_model_sees_that_its_client_has_gone(server: ServerProcess) -> None:
    gone = hang_up(server, "plain", 41, 0.15)
    line = server.wait_log("cancelled [41]", 5)
    assert float(line.rpartition(" ")[2]) - gone < 0.05


@pytest.mark.parametrize("model", ["plain", "ahead"])
def test_ten_who_go_while_they_wait_are_never_executed(server: ServerProcess, model: str) -> None:
    before = reasons(server, model)
    with ThreadPoolExecutor(11) as pool:
        (running,) = together(pool, server, model, 1)
        time.sleep(0.1)
        leaving = [pool.submit(hang_up, server, model, 50 + number, 0.1) for number in range(10)]
        for future in leaving:
            future.result()
        server.wait_until(
            lambda: server.metric("nv_inference_pending_request_count", model=model) == 0, 0.4, "to forget who has gone"
        )
        assert running.result().status == 200
    server.wait_until(lambda: reasons(server, model)["CANCELED"] == before["CANCELED"] + 10, 2, "to count who has gone")
    assert not {f"[[{50 + number}]]" for number in range(10)} & set(executed(server))
    assert ask_rows(server, model, 5).status == 200


def test_the_deadline_of_a_grpc_call_drops_what_waits_and_tells_what_runs(server: ServerProcess) -> None:
    x = triton_grpc.InferInput("X", [1, 1], "INT32")
    with ThreadPoolExecutor(1) as pool, triton_grpc.InferenceServerClient(server.grpc) as client:
        (running,) = together(pool, server, "plain", 1)
        time.sleep(0.1)
        for value, model in ((78, "plain"), (42, "default")):
            x.set_data_from_numpy(np.array([[value]], np.int32))
            began = time.monotonic()
            with pytest.raises(triton_grpc.InferenceServerException) as caught:
                client.infer(model, [x], client_timeout=0.1)
            assert time.monotonic() - began < 0.2
            assert str(grpc.StatusCode.DEADLINE_EXCEEDED) in str(caught.value)
        assert running.result().status == 200
    server.wait_log("cancelled [42]", 5)
    assert "[[78]]" not in executed(server)


def test_the_servers_default_holds_where_the_model_says_nothing(serve: Serve, tmp_path: Path) -> None:
    write_rows(tmp_path, "plain", "", LONG)
    server = serve(tmp_path, options=("--default-queue-timeout-secs", "0.1"))
    with ThreadPoolExecutor(1) as pool:
        (running,) = together(pool, server, "plain", 1)
        time.sleep(0.05)
        began = time.monotonic()
        assert ask_rows(server, "plain", 77).status == 503
        assert time.monotonic() - began <= 0.15
        assert running.result().status == 200


def test_gone_and_late_are_each_counted_once(server: ServerProcess) -> None:
    before = reasons(server, "ahead")
    with ThreadPoolExecutor(4) as pool:
        running = together(pool, server, "ahead", 1)
        time.sleep(0.1)
        late = [pool.submit(ask_rows, server, "ahead", 90, timeout=50_000) for _ in range(2)]
        hang_up(server, "ahead", 91, 0.1)
        assert [future.result().status for future in late] == [503, 503]
        assert [future.result().status for future in running] == [200]
    server.wait_until(
        lambda: reasons(server, "ahead")["CANCELED"] == before["CANCELED"] + 1, 2, "to count who has gone"
    )
    after = reasons(server, "ahead")
    assert {name: after[name] - before[name] for name in after} == {
        "REJECTED": 2,
        "CANCELED": 1,
        "BACKEND": 0,
        "OTHER": 0,
    }
