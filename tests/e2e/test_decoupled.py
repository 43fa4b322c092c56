"""Decoupled models over both protocols: any number of responses, from anywhere, at any time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.conftest import Serve
from tests.support.clients import ask, infer_json, tensor
from tests.support.decoupled import ODD, REPEAT, SQUARE, listening, numbers, read_slowly, write_decoupled
from tests.support.repositories import CONSTANT_CONFIG, write_model
from tools import proc
from tools.process import ServerProcess


@pytest.fixture(scope="module", params=["native", "grpcio"])
def decoupled(
    request: pytest.FixtureRequest, make_server: Serve, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    triton = request.config.getoption("--server") == "triton"
    repository = tmp_path_factory.mktemp("decoupled")
    for name, source in {"repeat": REPEAT, "square": SQUARE, "odd": ODD}.items():
        write_decoupled(repository, name, source)
    with make_server(repository, options=() if triton else (f"--grpc-engine={request.param}",)) as running:
        yield running


def test_each_value_in_order_then_the_end(decoupled: ServerProcess) -> None:
    with listening(decoupled) as stream:
        stream.ask("repeat", 3, 1, 4, request_id="a")
        assert [(said.value, said.final, said.id) for said in stream.take(3)] == [
            (3, False, "a"), (1, False, "a"), (4, False, "a"),
        ]  # fmt: skip
        stream.ask("repeat", 7, request_id="b", enable_empty_final_response=True)
        assert [(said.value, said.final) for said in stream.take(2)] == [(7, False), (None, True)]


def test_many_requests_of_one_stream(decoupled: ServerProcess) -> None:
    values = list(range(300))
    with listening(decoupled) as stream:
        for number in range(20):
            stream.ask("repeat", *values, request_id=str(number))
        heard = stream.take(20 * 300)
    for number in range(20):
        assert [said.value for said in heard if said.id == str(number)] == values


def test_coroutines_run_together(decoupled: ServerProcess) -> None:
    with listening(decoupled) as stream:
        began = time.monotonic()
        for number in range(10):
            stream.ask("square", 4, request_id=str(number))
        heard = stream.take(40)
        assert time.monotonic() - began < 1.5  # one after another they would take two seconds
        assert sum(bool(said.final) for said in heard) == 10
        stream.ask("square", 0, enable_empty_final_response=True)
        assert stream.next()[:2] == (None, True)


async def test_the_asynchronous_client(decoupled: ServerProcess) -> None:
    async def requests() -> Any:
        for number in range(3):
            yield {"model_name": "square", "inputs": [numbers(2)], "request_id": str(number)}

    async with triton_aio.InferenceServerClient(decoupled.grpc) as client:
        heard = []
        async for result, error in client.stream_infer(requests()):
            assert error is None
            heard.append(result.get_response().id)
            if len(heard) == 6:
                break
    assert sorted(heard) == ["0", "0", "1", "1", "2", "2"]


@pytest.mark.ours
def test_what_a_model_forgets_is_an_error_not_a_hang(decoupled: ServerProcess) -> None:
    with listening(decoupled) as stream:
        stream.ask("odd", 0)
        assert "dropped the request's response sender" in stream.next().error
        stream.ask("odd", 1)
        assert stream.next().value == 1
        assert "ValueError: in the middle" in stream.next().error
        stream.ask("odd", 3)
        assert stream.next()[:2] == (1, True)


def test_errors_in_the_middle(decoupled: ServerProcess) -> None:
    with listening(decoupled) as stream:
        stream.ask("odd", 2)
        first, error, last = stream.take(3)
    assert (first.value, error.error[-8:], last[:2]) == (1, "an error", (2, True))
    with listening(decoupled, triton_grpc_error="true") as stream:
        stream.ask("odd", 5)
        assert "UNIMPLEMENTED" in stream.next().error


def test_the_model_sees_a_cancellation(decoupled: ServerProcess) -> None:
    with listening(decoupled) as stream:
        stream.ask("odd", 4)
        assert stream.next().value == 4
        stream.client.stop_stream(cancel_requests=True)
    decoupled.wait_log("seen cancelled")


@pytest.mark.ours
async def test_a_slow_reader_holds_the_model_up(decoupled: ServerProcess) -> None:
    """Whoever doesn't read makes the model wait, and others don't notice."""
    await read_slowly(decoupled, "odd")


@pytest.mark.ours
def test_kill_9_in_the_middle_of_a_stream(serve: Serve, tmp_path: Path) -> None:
    write_decoupled(tmp_path, "odd", ODD)
    server = serve(tmp_path)
    with listening(server) as stream:
        stream.ask("odd", 4)
        assert stream.next().value == 4
        (stub,) = proc.stubs(server.pid)
        os.kill(stub, signal.SIGKILL)
        killed = time.monotonic()
        assert "SIGKILL" in stream.next().error
        assert time.monotonic() - killed < 1
    server.wait_until(lambda: ask(server, "GET", "/v2/models/odd/ready").status == 200, 20, "to restart its model")


def test_unary_endpoints_refuse(decoupled: ServerProcess) -> None:
    answer = infer_json(decoupled, "repeat", {"inputs": [tensor("IN", "INT32", [1], [1])]})
    assert (answer.status, answer.error) == (
        501, "HTTP end point doesn't support models with decoupled transaction policy",
    )  # fmt: skip
    import tritonclient.grpc as triton_grpc

    with triton_grpc.InferenceServerClient(decoupled.grpc) as client:
        with pytest.raises(InferenceServerException) as caught:
            client.infer("repeat", [numbers(1)])
    assert caught.value.message() == "ModelInfer RPC doesn't support models with decoupled transaction policy"
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"


@pytest.mark.ours
def test_statistics_count_responses(serve: Serve, tmp_path: Path) -> None:
    write_decoupled(tmp_path, "repeat", REPEAT)
    server = serve(tmp_path)
    with listening(server) as stream:
        stream.ask("repeat", 5, 6, enable_empty_final_response=True)
        assert stream.take(3)[-1].final

    def counted() -> Any:
        return ask(server, "GET", "/v2/models/repeat/stats").json["model_stats"][0]

    # The stream may end before execute is over.
    server.wait_until(lambda: counted()["execution_count"] == 1, 20, "to count the execution")
    found = counted()
    assert found["inference_stats"]["success"]["count"] == 1
    assert found["execution_count"] == found["inference_count"] == 1
    counts = {index: (each["success"]["count"], each["empty_response"]["count"])
              for index, each in found["response_stats"].items()}  # fmt: skip
    assert counts == {"0": (1, 0), "1": (1, 0), "2": (0, 1)}


AGAIN = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.seen = {}

    def execute(self, requests):
        responses = []
        for request in requests:
            id = request.request_id()
            self.seen[id] = self.seen.get(id, 0) + 1
            if self.seen[id] < 3:
                request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
                responses.append(None)
            else:
                times = pb_utils.Tensor("VALUE", np.array([self.seen[id]], np.int32))
                responses.append(pb_utils.InferenceResponse([times]))
        return responses
"""


@pytest.mark.parametrize("extra", ["", "max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: 1000 }"])
def test_a_request_may_ask_to_come_again(serve: Serve, tmp_path: Path, extra: str) -> None:
    write_model(tmp_path, "again", AGAIN, CONSTANT_CONFIG + extra)
    server = serve(tmp_path)

    def times(id: str) -> Any:
        shape = [1, 1] if extra else [1]
        return infer_json(server, "again", {"id": id, "inputs": [tensor("ASKED", "BOOL", shape, [True])]})

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(times, "abcd"))
    assert [answer.json["outputs"][0]["data"] for answer in answers] == [[3]] * 4
    (found,) = ask(server, "GET", "/v2/models/again/stats").json["model_stats"]
    assert found["inference_stats"]["success"]["count"] == 4
    assert found["execution_count"] >= 3
