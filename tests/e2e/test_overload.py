"""Ten times more requests than a model can answer: it answers as many as ever, memory stays flat, all is counted."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc

from tests.conftest import Serve
from tests.e2e.test_deadlines import hang_up, reasons
from tests.support.batching import ask_rows, together, write_rows
from tests.support.load import binary_request, flood
from tests.support.repositories import write_add, write_ensemble, write_model
from tools import proc
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

SLEEP = 0.02
"""Seconds that an execution takes: the model answers some 49 requests a second."""
WAITING = 8
CLIENTS = 60
PAUSE = 0.08
FLAT = 24 << 20
"""Bytes by which the servers' memory may differ from one moment to another."""


@pytest.mark.parametrize("model", ["plain", "batched", "graph"])
@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.heavy)])
async def test_ten_times_too_much(serve: Serve, tmp_path: Path, model: str, seconds: float) -> None:
    batching = "max_batch_size: 1 dynamic_batching { }"
    write_add(tmp_path, "plain", sleep=SLEEP)
    write_add(tmp_path, "batched", batching, sleep=SLEEP)
    write_ensemble(tmp_path, "graph", ["plain X=IN -> Y=OUT"])
    server = serve(tmp_path, options=("--max-queue-requests", str(WAITING)))
    shape = (1, 16384) if model == "batched" else (16384,)
    name = "IN" if model == "graph" else "X"
    request = binary_request(f"/v2/models/{model}/infer", name, np.zeros(shape, np.float32))
    quiet = await flood(server.http, request, 2, 1.0, 0)
    await flood(server.http, request, CLIENTS, 1.0, PAUSE)
    before = server.metric("nv_inference_request_success", model=model), reasons(server, model)
    memory = proc.tree_pss_bytes(server.pid)
    heard = await flood(server.http, request, CLIENTS, seconds, PAUSE)
    answered = [each for each in heard if each.status == 200]
    refused = [each for each in heard if each.status != 200]
    assert len(heard) > 9 * len(answered), "this was to be an overload"
    assert len(answered) / seconds > (0.85 if seconds > 3 else 0.5) * len(quiet)
    assert {(each.status, each.retry_after) for each in refused} == {(503, "1")}
    assert statistics.median(each.seconds for each in refused) < (0.005 if seconds > 3 else 0.1)
    assert proc.tree_pss_bytes(server.pid) - memory < FLAT
    counted = reasons(server, model)
    assert server.metric("nv_inference_request_success", model=model) - before[0] == len(answered)
    assert counted["REJECTED"] - before[1]["REJECTED"] == len(refused)
    assert {reason for reason in counted if counted[reason] != before[1][reason]} == {"REJECTED"}
    assert server.metric("nv_inference_pending_request_count", model=model) == 0
    assert server.metric("pyserver_pending_request_bytes", model=model) == 0


def test_overflow_cancellation_and_deadline_are_each_counted_exactly(serve: Serve, tmp_path: Path) -> None:
    """One runs, six wait: two until they are told, two until they go, two until they run; three find no room."""
    write_rows(tmp_path, "busy", "dynamic_batching { default_queue_policy { max_queue_size: 6 } }", 0.8, batch=1)
    server = serve(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        running = together(pool, server, "busy", 1)
        waiting(server, 0)
        late = [pool.submit(ask_rows, server, "busy", 2, timeout=300_000) for _ in range(2)]
        gone = [pool.submit(hang_up, server, "busy", 3, 0.3) for _ in range(2)]
        waiting(server, 4)
        running += together(pool, server, "busy", 4, 5)
        waiting(server, 6)
        overflow = [ask_rows(server, "busy", 6) for _ in range(2)]
        x = triton_grpc.InferInput("X", [1, 1], "INT32")
        x.set_data_from_numpy(np.array([[6]], np.int32))
        with triton_grpc.InferenceServerClient(server.grpc) as client:
            with pytest.raises(triton_grpc.InferenceServerException, match="Exceeds maximum queue size") as caught:
                client.infer("busy", [x])
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
        assert [answer.status for answer in overflow] == [503, 503]
        for leaving in gone:
            leaving.result()
        assert [answer.result().status for answer in late] == [503, 503]
        waiting(server, 2)
        assert [answer.result().status for answer in running] == [200, 200, 200]
    assert reasons(server, "busy") == {"REJECTED": 5, "CANCELED": 2, "BACKEND": 0, "OTHER": 0}
    assert server.metric("nv_inference_request_success", model="busy") == 3
    assert server.metric("nv_inference_exec_count", model="busy") == 3
    waiting(server, 0)


CALLS = """
import asyncio
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    async def execute(self, requests):
        return [await self.one(request) for request in requests]

    async def one(self, request):
        names = dict(model_name="busy", requested_output_names=["Y"], inputs=request.inputs())
        answers = await asyncio.gather(*(pb_utils.InferenceRequest(**names).async_exec() for _ in range(5)))
        said = [answer.error().message() if answer.has_error() else "" for answer in answers]
        print("refused", sum("Exceeds maximum queue size for model 'busy'" in text for text in said), flush=True)
        return answers[0]
"""


def test_calls_of_models_wait_in_the_same_bounded_queue(serve: Serve, tmp_path: Path) -> None:
    """Of five calls at once one runs, two wait, and two are refused."""
    write_rows(tmp_path, "busy", "dynamic_batching { default_queue_policy { max_queue_size: 2 } }", 0.2, batch=1)
    config = 'backend: "python" max_batch_size: 1 input { name: "X" data_type: TYPE_INT32 dims: [ 1 ] }'
    write_model(tmp_path, "calls", CALLS, config + ' output { name: "Y" data_type: TYPE_INT32 dims: [ -1 ] }')
    server = serve(tmp_path)
    assert ask_rows(server, "calls", 7).status == 200
    server.wait_log("refused 2", 5)
    assert reasons(server, "busy")["REJECTED"] == 2
    assert server.metric("nv_inference_request_success", model="busy") == 3


def waiting(server: ServerProcess, count: int) -> None:
    """The gauges say that so many wait, four bytes each."""
    time.sleep(0.05)
    server.wait_until(
        lambda: server.metric("nv_inference_pending_request_count", model="busy") == count, 1, f"to have {count} wait"
    )
    assert server.metric("pyserver_pending_request_bytes", model="busy") == 4 * count
