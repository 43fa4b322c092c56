"""Models that call models: synchronously, asynchronously, as streams, from any thread, and never for ever."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.clients import Answer, ask, infer_json, tensor
from tests.support.decoupled import REPEAT, SQUARE, write_decoupled
from tests.support.repositories import write_constant, write_model
from tools import proc
from tools.process import ServerProcess

CONFIG = """
backend: "python"
{extra}
input {{ name: "IN" data_type: TYPE_STRING dims: [ -1 ] }}
output {{ name: "OUT" data_type: TYPE_STRING dims: [ -1 ] }}
"""
HEAD = """
import asyncio, json, threading, time
import numpy as np
import triton_python_backend_utils as pb_utils


def call(model, inputs, outputs=(), **more):
    tensors = [pb_utils.Tensor(name, array) for name, array in inputs.items()]
    return pb_utils.InferenceRequest(
        model_name=model, inputs=tensors, requested_output_names=list(outputs), **more)


def words(*values):
    return np.array(values, dtype=object)


def shown(response):
    if response.has_error():
        return f"error {response.error().code().name}: {response.error().message()}"
    return str([tensor.as_numpy().tolist() for tensor in response.output_tensors()])


ASKED = {"ASKED": np.array([True])}
"""
CALLER = (
    HEAD
    + """
class TritonPythonModel:
    def initialize(self, args):
        self.first = shown(call("constant", ASKED).exec())

    def execute(self, requests):
        responses = []
        for request in requests:
            what = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0].decode()
            said = getattr(self, what)()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", words(*said))]))
        return responses

    def in_initialize(self):
        return [self.first]

    def plain(self):
        memory = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU)
        return [shown(call("constant", ASKED, ["VALUE"], preferred_memory=memory).exec())]

    def threads(self):
        said = []
        def one():
            said.append(shown(call("constant", ASKED).exec()))
        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        return said

    def wrong(self):
        asked = [call("nope", ASKED), call("constant", {}), call("refusing", {"IN": words("x")}),
                 call("repeat", {"IN": np.array([1], np.int32)}), call("constant", ASKED, model_version=7)]
        return [shown(request.exec()) for request in asked]

    def stream(self):
        request = call("repeat", {"IN": np.arange(200, dtype=np.int32)})
        responses = request.exec(decoupled=True)
        first = [shown(response) for response in responses]
        return [str(len(first)), first[0], first[199], first[200], str(len(list(responses)))]

    def cancel(self):
        responses = call("square", {"IN": np.array([1000], np.int32)}).exec(decoupled=True)
        seen = []
        for response in responses:
            seen.append(shown(response))
            responses.cancel()
        return seen[:1] + seen[-1:]

    def late(self):
        return [shown(call("slow", {"IN": words("x")}, timeout=100000).exec())]

    def large(self):
        array = np.arange(5_000_000, dtype=np.int64)
        response = call("echo", {"IN": array}).exec()
        return [str(bool((response.output_tensors()[0].as_numpy() == array).all()))]

    def myself(self):
        return [shown(call("caller", {"IN": words("plain")}).exec())]

    def there_and_back(self):
        return [shown(call("back", {"IN": words("caller")}).exec())]
"""
)
BACK = (
    HEAD
    + """
class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            name = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0].decode()
            said = shown(call(name, {"IN": words("plain")}).exec())
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", words(said))]))
        return responses
"""
)
ASYNC = (
    HEAD
    + """
class TritonPythonModel:
    async def execute(self, requests):
        return [await self.answer() for request in requests]

    async def answer(self):
        began = time.monotonic()
        calls = [call("slow", {"IN": words("x")}).async_exec() for _ in range(4)]
        said = [shown(response) for response in await asyncio.gather(*calls)]
        took = time.monotonic() - began
        responses = await call("repeat", {"IN": np.arange(3, dtype=np.int32)}).async_exec(decoupled=True)
        async for response in responses:
            said.append(shown(response))
        said.append(str(took < 1.1))
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", words(*said))])
"""
)
SLOW = (
    HEAD
    + """
class TritonPythonModel:
    def execute(self, requests):
        time.sleep(0.4)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", words("slow"))]) for _ in requests]
"""
)
REFUSING = (
    HEAD
    + """
class TritonPythonModel:
    def execute(self, requests):
        error = pb_utils.TritonError("not mine", pb_utils.TritonError.UNSUPPORTED)
        return [pb_utils.InferenceResponse(error=error) for _ in requests]
"""
)
ECHO = (
    HEAD
    + """
class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", request.inputs()[0].as_numpy())])
                for request in requests]
"""
)


@pytest.fixture(scope="module")
def bls(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("bls")
    write_constant(repository, "constant", 5)
    write_decoupled(repository, "repeat", REPEAT)
    write_decoupled(repository, "square", SQUARE)
    config = CONFIG.format(extra="")
    for name, source in {"back": BACK, "refusing": REFUSING}.items():
        write_model(repository, name, source, config)
    write_model(repository, "slow", SLOW, CONFIG.format(extra="instance_group { count: 4 }"))
    write_model(repository, "async", ASYNC, config)
    write_model(repository, "echo", ECHO, config.replace("STRING", "INT64"))
    with make_server(repository, options=("--model-control-mode=explicit", "--load-model=*")) as running:
        write_model(repository, "caller", CALLER, config)
        assert ask(running, "POST", "/v2/repository/models/caller/load").status == 200
        yield running


def said(server: ServerProcess, what: str, model: str = "caller") -> list[str]:
    answer = asked(server, what, model)
    assert answer.status == 200, answer
    found: list[str] = answer.json["outputs"][0]["data"]
    return found


def asked(server: ServerProcess, what: str, model: str = "caller") -> Answer:
    return infer_json(server, model, {"inputs": [tensor("IN", "BYTES", [1], [what])]})


def test_a_call(bls: ServerProcess) -> None:
    assert said(bls, "plain") == ["[[5]]"]


@pytest.mark.ours
def test_a_call_in_initialize(bls: ServerProcess) -> None:
    assert said(bls, "in_initialize") == ["[[5]]"]


def test_calls_from_threads(bls: ServerProcess) -> None:
    assert said(bls, "threads") == ["[[5]]"] * 8


def test_large_tensors(bls: ServerProcess) -> None:
    assert said(bls, "large") == ["True"]


@pytest.mark.ours
def test_errors_keep_their_code_and_message(bls: ServerProcess) -> None:
    unknown, invalid, refused, decoupled, version = said(bls, "wrong")
    assert unknown.startswith(
        "error NOT_FOUND: Model nope - Error when running inference: Failed for execute the inference request. "
        "Model 'nope' is not ready."
    )
    assert invalid.startswith("error INVALID_ARG: Model constant - Error when running inference: ")
    assert refused == "error UNSUPPORTED: not mine"
    assert decoupled.startswith("error UNSUPPORTED: ")
    assert "Please use 'decoupled=True'" in decoupled
    assert version.startswith("error NOT_FOUND: ")


def test_responses_of_a_decoupled_model(bls: ServerProcess) -> None:
    assert said(bls, "stream") == ["201", "[[0]]", "[[199]]", "[]", "201"]


@pytest.mark.ours
def test_cancelling_a_stream(bls: ServerProcess) -> None:
    first, last = said(bls, "cancel")
    assert (first, last) == ("[[1000]]", "error CANCELLED: the call was cancelled")


def test_asynchronous_calls_run_together(bls: ServerProcess) -> None:
    assert said(bls, "x", "async") == ["[[b'slow']]"] * 4 + ["[[0]]", "[[1]]", "[[2]]", "[]", "True"]


@pytest.mark.ours
def test_a_timeout_is_kept(bls: ServerProcess) -> None:
    began = time.monotonic()
    assert said(bls, "late") == ["error UNAVAILABLE: model 'slow' gave no answer within 100000 microseconds"]
    assert time.monotonic() - began < 0.35


@pytest.mark.ours
@pytest.mark.parametrize(
    ("what", "chain"), [("myself", "caller -> caller"), ("there_and_back", "caller -> back -> caller")]
)
def test_who_would_wait_for_himself_is_told_at_once(bls: ServerProcess, what: str, chain: str) -> None:
    said(bls, "plain")
    began = time.monotonic()
    (answer,) = said(bls, what)
    assert time.monotonic() - began < 0.1
    assert "the call would wait for ever, " in answer
    # Who closes the circle is told; the others get what he says of it.
    assert chain in answer or (what == "there_and_back" and "back -> caller -> back" in answer)


@pytest.mark.ours
def test_with_two_instances_it_may_call_itself(serve: Serve, tmp_path: Path) -> None:
    source = CALLER.replace('self.first = shown(call("constant", ASKED).exec())', "pass")
    write_constant(tmp_path, "constant", 5)
    write_model(tmp_path, "caller", source, CONFIG.format(extra="instance_group { count: 2 }"))
    server = serve(tmp_path)
    assert said(server, "myself") == ["[[b'[[5]]']]"]


@pytest.mark.ours
def test_kill_9_of_who_is_called(serve: Serve, tmp_path: Path) -> None:
    """The caller hears why, and nothing of either is left."""
    source = SLOW.replace("0.4", "30")
    write_model(tmp_path, "sleeper", source, CONFIG.format(extra=""))
    write_model(tmp_path, "back", BACK, CONFIG.format(extra=""))
    server = serve(tmp_path)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(said, server, "sleeper", "back")
        server.wait_until(lambda: bool(_stats(server, "sleeper")["last_inference"]), 20, "to be asked")
        time.sleep(0.2)
        (stub,) = [pid for pid in proc.stubs(server.pid) if "sleeper" in proc.command_line(pid)]
        os.kill(stub, signal.SIGKILL)
        (text,) = answer.result(timeout=20)
    assert "error UNAVAILABLE" in text
    assert "SIGKILL" in text


def _stats(server: ServerProcess, model: str) -> Any:
    return json.loads(ask(server, "GET", f"/v2/models/{model}/stats").body)["model_stats"][0]
