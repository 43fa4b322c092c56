"""Sequences over real servers and real clients: controls, both strategies, states, ids of both kinds, ends."""

from __future__ import annotations

import json
import os
import signal
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http

from tests.conftest import Serve
from tests.support.batching import statistics
from tests.support.clients import Answer, infer_json, tensor
from tests.support.repositories import write_model
from tools import proc
from tools.process import ServerProcess

SUMS = """
import json
import time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.sums = {}
        self.seconds = 0.1 if "slow" in args["model_name"] else 0

    def execute(self, requests):
        time.sleep(self.seconds)
        return [self.answer(request, len(requests)) for request in requests]

    def answer(self, request, together):
        inputs = {tensor.name(): tensor.as_numpy().ravel().tolist()[0] for tensor in request.inputs()}
        if not inputs.get("READY", True):
            print("filler", sorted(inputs.items()), request.correlation_id(), flush=True)
        key = str(request.correlation_id())
        if inputs["START"]:
            self.sums[key] = 0
        self.sums[key] = self.sums.get(key, 0) + inputs["X"]
        said = {name: value.decode() if isinstance(value, bytes) else value for name, value in inputs.items()}
        said.update(flags=request.flags(), id=request.correlation_id(), together=together)
        outputs = [
            pb_utils.Tensor("SUM", np.array([[self.sums[key]]], np.int32)),
            pb_utils.Tensor("SAID", np.array([[json.dumps(said)]], object)),
        ]
        if "BEFORE" in inputs:
            outputs.append(pb_utils.Tensor("AFTER", np.array([[inputs["BEFORE"] + inputs["X"]]], np.int32)))
        if inputs["X"] == 13:
            raise ValueError("thirteen")
        return pb_utils.InferenceResponse(outputs)
"""
CONFIG = """
backend: "python"
max_batch_size: 4
input { name: "X" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "SUM" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "SAID" data_type: TYPE_STRING dims: [ 1 ] }
sequence_batching { %s
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START %s_false_true: [ %s ] } ] },
    { name: "END" control [ { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } ] },
    { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY fp32_false_true: [ 0, 1 ] } ] },
    { name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: %s } ] }
  ] }
"""
STATE = 'state { input_name: "BEFORE" output_name: "AFTER" data_type: TYPE_INT32 dims: [ 1 ] %s }'
STATE_FILE = 'initial_state { name: "begin" data_type: TYPE_INT32 dims: [ 1 ] data_file: "begin" }'


def config(strategy: str, start: tuple[str, str] = ("bool", "false, true"), corrid: str = "TYPE_UINT64") -> str:
    return CONFIG % (strategy, *start, corrid)


@pytest.fixture(scope="module")
def server(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("sequences")
    write_model(repository, "direct", SUMS, config("direct {} max_sequence_idle_microseconds: 500000"))
    write_model(repository, "direct_slow", SUMS, config("direct {}"))
    write_model(repository, "oldest_slow", SUMS, config("oldest { max_candidate_sequences: 3 }"))
    write_model(repository, "text", SUMS, config("oldest {}", ("int32", "-1, 1"), "TYPE_STRING"))
    write_model(repository, "narrow", SUMS, config("oldest {}", ("fp32", "0, 2.5"), "TYPE_INT32"))
    write_model(repository, "state", SUMS, config("oldest { max_candidate_sequences: 4 }" + STATE % ""))
    write_model(repository, "state_file", SUMS, config("oldest {}" + STATE % STATE_FILE))
    (repository / "state_file/initial_state").mkdir()
    (repository / "state_file/initial_state/begin").write_bytes(struct.pack("<i", 1000))
    with make_server(repository) as running:
        yield running


def step(
    server: ServerProcess, model: str, sequence: int | str, x: int, start: bool = False, end: bool = False
) -> Answer:
    parameters: dict[str, Any] = {"sequence_id": sequence, "sequence_start": start, "sequence_end": end}
    return infer_json(server, model, {"inputs": [tensor("X", "INT32", [1, 1], [x])], "parameters": parameters})


def values(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer
    return {output["name"]: output["data"][0] for output in answer.json["outputs"]}


def total(answer: Answer) -> int:
    return int(values(answer)["SUM"])


def said(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(values(answer)["SAID"])
    return found


def test_controls_and_flags_of_a_sequence(server: ServerProcess) -> None:
    answers = [
        step(server, "direct", 7, 5, start=True),
        step(server, "direct", 7, 6),
        step(server, "direct", 7, 7, end=True),
    ]
    assert [total(answer) for answer in answers] == [5, 11, 18]
    heard = [said(answer) for answer in answers]
    assert [(entry["START"], entry["END"], entry["READY"]) for entry in heard] == [
        (True, False, 1.0), (False, False, 1.0), (False, True, 1.0),
    ]  # fmt: skip
    assert [(entry["flags"], entry["id"], entry["CORRID"]) for entry in heard] == [(1, 7, 7), (0, 7, 7), (2, 7, 7)]


@pytest.mark.parametrize(
    ("model", "sequence", "corrid", "start"),
    [("text", "a word", "a word", 1), ("text", 12, "12", 1), ("narrow", 12, 12, 2.5)],
)
def test_ids_and_flags_of_every_kind(
    server: ServerProcess,
    request: pytest.FixtureRequest,
    model: str,
    sequence: int | str,
    corrid: int | str,
    start: float,
) -> None:
    if request.config.getoption("--server") == "triton" and sequence == 12 and model == "text":
        pytest.skip("Triton can't tell a number as a string")
    heard = said(step(server, model, sequence, 1, start=True))
    assert (heard["CORRID"], heard["START"]) == (corrid, start)
    assert said(step(server, model, sequence, 1, end=True))["id"] == sequence


@pytest.mark.parametrize(
    ("sequence", "flags", "says"),
    [
        (0, {"start": True}, "must specify a non-zero or non-empty correlation ID"),
        (99, {}, "must specify the START flag on the first request of the sequence"),
        ("ninety-nine", {}, "must specify the START flag on the first request of the sequence"),
    ],
)
def test_errors(server: ServerProcess, sequence: int | str, flags: dict[str, bool], says: str) -> None:
    answer = step(server, "direct", sequence, 1, **flags)
    assert answer.status == 400
    assert says in answer.error


def test_a_batch_is_no_step_of_a_sequence(server: ServerProcess) -> None:
    inputs = [tensor("X", "INT32", [2, 1], [1, 2])]
    answer = infer_json(server, "direct", {"inputs": inputs, "parameters": {"sequence_id": 3, "sequence_start": True}})
    assert answer.status == 400
    assert "must specify batch-size 1 due to requirements of sequence batcher" in answer.error


def test_a_control_is_not_the_clients_to_give(server: ServerProcess) -> None:
    inputs = [tensor("X", "INT32", [1, 1], [1]), tensor("START", "BOOL", [1, 1], [True])]
    answer = infer_json(server, "direct", {"inputs": inputs, "parameters": {"sequence_id": 3, "sequence_start": True}})
    assert answer.status == 400


def test_start_again_and_end(server: ServerProcess) -> None:
    assert total(step(server, "direct", 11, 5, start=True)) == 5
    assert total(step(server, "direct", 11, 2, start=True)) == 2
    assert total(step(server, "direct", 11, 2, end=True)) == 4
    assert step(server, "direct", 11, 2).status == 400


def test_a_step_that_fails_leaves_the_sequence_going(server: ServerProcess) -> None:
    assert step(server, "direct", 12, 5, start=True).status == 200
    assert step(server, "direct", 12, 13).status == 500
    assert total(step(server, "direct", 12, 1, end=True)) == 19


def test_a_sequence_that_rests_too_long_is_over(server: ServerProcess) -> None:
    assert step(server, "direct", 21, 5, start=True).status == 200
    time.sleep(0.3)
    assert step(server, "direct", 21, 5).status == 200
    time.sleep(1.2)
    assert step(server, "direct", 21, 5).status == 400


@pytest.mark.ours
@pytest.mark.parametrize("model", ["direct_slow", "oldest_slow"])
def test_more_sequences_than_slots_each_in_its_order(server: ServerProcess, model: str) -> None:
    def whole(sequence: int) -> list[int]:
        steps = [(sequence, True, False), (1, False, False), (1, False, True)]
        return [total(step(server, model, sequence, x, start, end)) for x, start, end in steps]

    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(whole, range(101, 109)))
    assert sums == [[n, n + 1, n + 2] for n in range(101, 109)]
    counted = statistics(server, model)
    assert counted["inference_stats"]["success"]["count"] == 24
    assert counted["execution_count"] < 24, "sequences share batches"


@pytest.mark.ours
def test_fillers_are_zeros(server: ServerProcess) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(step, server, "direct_slow", 31, 77, True)
        time.sleep(0.03)
        second = pool.submit(step, server, "direct_slow", 32, 78, True)
        assert (total(first.result()), total(second.result())) == (77, 78)
    assert said(step(server, "direct_slow", 32, 1, end=True))["together"] == 2
    zeros = "[('CORRID', 0), ('END', False), ('READY', 0.0), ('START', False), ('X', 0)] 0"
    server.wait_log(f"filler {zeros}")
    assert all(zeros in line for line in server.lines if "filler [" in line)


@pytest.mark.ours
def test_implicit_state_goes_from_step_to_step(server: ServerProcess) -> None:
    with ThreadPoolExecutor(3) as pool:

        def whole(sequence: int) -> list[int]:
            return [said(step(server, "state", sequence, sequence, x == 0, x == 4))["BEFORE"] for x in range(5)]

        assert list(pool.map(whole, [41, 42, 43])) == [[n * x for x in range(5)] for n in (41, 42, 43)]
    answer = step(server, "state", 41, 1, start=True)
    assert set(values(answer)) == {"SUM", "SAID"}, "a state is no output"
    assert said(step(server, "state", 41, 1, start=True))["BEFORE"] == 0, "START forgets"


@pytest.mark.ours
def test_a_state_may_begin_with_a_file(server: ServerProcess) -> None:
    assert said(step(server, "state_file", 51, 5, start=True))["BEFORE"] == 1000
    assert said(step(server, "state_file", 51, 5, end=True))["BEFORE"] == 1005


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_tritonclient_speaks_sequences(server: ServerProcess, protocol: str) -> None:
    module: Any = triton_grpc if protocol == "grpc" else triton_http
    x = module.InferInput("X", [1, 1], "INT32")
    x.set_data_from_numpy(np.array([[4]], np.int32))
    with module.InferenceServerClient(getattr(server, protocol)) as client:
        sums = [
            client.infer(
                "narrow", [x], sequence_id=f"of {protocol}", sequence_start=n == 0, sequence_end=n == 2
            ).as_numpy("SUM")
            for n in range(3)
        ]
    assert [int(array[0, 0]) for array in sums] == [4, 8, 12]


@pytest.mark.ours
def test_a_sequence_dies_with_its_instance_and_says_so(serve: Serve, tmp_path: Path) -> None:
    write_model(tmp_path, "direct", SUMS, config("direct {}"))
    server = serve(tmp_path)
    assert step(server, "direct", 5, 1, start=True).status == 200
    (stub,) = proc.stubs(server.pid)
    os.kill(stub, signal.SIGKILL)
    server.wait_until(lambda: proc.stubs(server.pid) not in ([], [stub]), 20, "to restart its model")
    server.wait_until(server.is_ready, 20, "to be ready")
    answer = step(server, "direct", 5, 1)
    assert answer.status == 400
    assert "must specify the START flag" in answer.error
    assert total(step(server, "direct", 5, 3, start=True)) == 3


COUNTDOWN = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        inputs = {tensor.name(): int(tensor.as_numpy().ravel()[0]) for tensor in request.inputs()}
        print("counts", inputs, flush=True)
        self.count = 1 if inputs["START"] else self.count + 1
        if self.count < inputs["X"]:
            request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
            return None
        return pb_utils.InferenceResponse([pb_utils.Tensor("SUM", np.array([[self.count]], np.int32))])
"""


@pytest.mark.ours
def test_an_iterative_sequence_is_rescheduled_until_it_is_done(serve: Serve, tmp_path: Path) -> None:
    write_model(tmp_path, "countdown", COUNTDOWN, config("oldest {} iterative_sequence: true"))
    server = serve(tmp_path)
    answer = infer_json(server, "countdown", {"inputs": [tensor("X", "INT32", [1, 1], [3])]})
    assert total(answer) == 3
    lines = [line.partition("counts ")[2] for line in server.wait_lines(3, "counts {")]
    assert [("'START': 1" in line, "'END': 0" in line) for line in lines] == [
        (True, True),
        (False, True),
        (False, True),
    ]
    counted = statistics(server, "countdown")
    assert (counted["inference_stats"]["success"]["count"], counted["execution_count"]) == (1, 3)
