"""The classification extension by tritonclient: labels, batches, both transports, JSON and binary."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http
from tritonclient.grpc import aio as triton_grpc_aio
from tritonclient.http import aio as triton_http_aio
from tritonclient.utils import InferenceServerException

from tests.conftest import Serve
from tests.support.clients import infer_json, one_input, tensor
from tests.support.repositories import write_model
from tools.process import ServerProcess

ECHO = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        given = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", given)])
"""
CONFIG = """
backend: "python"
max_batch_size: {batch}
input {{ name: "IN" data_type: TYPE_{type} dims: [ -1 ] }}
output {{ name: "OUT" data_type: TYPE_{type} dims: [ -1 ] {labels} }}
"""
ENSEMBLE = """
platform: "ensemble"
max_batch_size: 8
input { name: "ALL_IN" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "ALL_OUT" data_type: TYPE_FP32 dims: [ -1 ] }
ensemble_scheduling { step {
  model_name: "scores" model_version: -1
  input_map { key: "IN" value: "ALL_IN" }
  output_map { key: "OUT" value: "ALL_OUT" }
} }
"""
LABELS = "cat\ndog\nmaus und hänfling\n"
SCORES = np.array([[0.5, 4, 0.25, 1], [1, 2, 3, 0]], np.float32)
BEST = [[b"4.000000:1:dog", b"1.000000:3", b"0.500000:0:cat"],
        ["3.000000:2:maus und hänfling".encode(), b"2.000000:1:dog", b"1.000000:0:cat"]]  # fmt: skip


def write(repository: Path, name: str, batch: int, datatype: str, labelled: bool) -> None:
    labels = 'label_filename: "labels.txt"' if labelled else ""
    folder = write_model(repository, name, ECHO, CONFIG.format(batch=batch, type=datatype, labels=labels))
    if labelled:
        (folder / "labels.txt").write_text(LABELS)


@pytest.fixture(scope="module")
def classifying(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("classifying")
    write(repository, "scores", 8, "FP32", True)
    write(repository, "plain", 0, "INT32", False)
    write(repository, "flags", 8, "BOOL", False)
    (repository / "whole/1").mkdir(parents=True)
    (repository / "whole/config.pbtxt").write_text(ENSEMBLE)
    with make_server(repository) as running:
        yield running


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_over_rest(classifying: ServerProcess, binary: bool) -> None:
    with triton_http.InferenceServerClient(classifying.http) as client:
        wanted = triton_http.InferRequestedOutput("OUT", binary_data=binary, class_count=3)
        result = client.infer("scores", [one_input("IN", SCORES, "FP32")], outputs=[wanted])
    assert result.get_output("OUT")["datatype"] == "BYTES"
    got = result.as_numpy("OUT")
    assert got.shape == (2, 3)
    assert [[each if isinstance(each, bytes) else each.encode() for each in row] for row in got] == BEST


def grpc_input(array: Any, datatype: str) -> triton_grpc.InferInput:
    made = triton_grpc.InferInput("IN", list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def test_over_grpc(classifying: ServerProcess) -> None:
    with triton_grpc.InferenceServerClient(classifying.grpc) as client:
        wanted = triton_grpc.InferRequestedOutput("OUT", class_count=3)
        result = client.infer("scores", [grpc_input(SCORES, "FP32")], outputs=[wanted])
        assert result.as_numpy("OUT").tolist() == BEST
        answers: list[Any] = []
        client.start_stream(lambda result, error: answers.append(error or result))
        client.async_stream_infer("scores", [grpc_input(SCORES, "FP32")], outputs=[wanted])
        client.stop_stream()
    assert answers[0].as_numpy("OUT").tolist() == BEST


async def test_the_aio_clients(classifying: ServerProcess) -> None:
    async with triton_http_aio.InferenceServerClient(classifying.http) as http:
        wanted = triton_http.InferRequestedOutput("OUT", class_count=1)
        result = await http.infer("scores", [one_input("IN", SCORES, "FP32")], outputs=[wanted])
        assert result.as_numpy("OUT").tolist() == [row[:1] for row in BEST]
    async with triton_grpc_aio.InferenceServerClient(classifying.grpc) as grpc:
        output = triton_grpc.InferRequestedOutput("OUT", class_count=1)
        answer = await grpc.infer("scores", [grpc_input(SCORES, "FP32")], outputs=[output])
        assert answer.as_numpy("OUT").tolist() == [row[:1] for row in BEST]


def test_integers_without_batch_or_labels(classifying: ServerProcess) -> None:
    body = {
        "inputs": [tensor("IN", "INT32", [4], [3, -7, 9, 1])],
        "outputs": [{"name": "OUT", "parameters": {"classification": 9}}],
    }
    output = infer_json(classifying, "plain", body).json["outputs"][0]
    assert output == {"name": "OUT", "datatype": "BYTES", "shape": [4], "data": ["9:2", "3:0", "1:3", "-7:1"]}


def test_an_ensemble_has_the_labels_of_its_step(classifying: ServerProcess) -> None:
    with triton_http.InferenceServerClient(classifying.http) as client:
        wanted = triton_http.InferRequestedOutput("ALL_OUT", class_count=3)
        result = client.infer("whole", [one_input("ALL_IN", SCORES, "FP32")], outputs=[wanted])
    assert result.as_numpy("ALL_OUT").tolist() == BEST


def test_a_large_one_is_sorted_beside_the_loop(classifying: ServerProcess) -> None:
    values = np.arange(400_000, dtype=np.int32)
    with triton_http.InferenceServerClient(classifying.http) as client:
        wanted = triton_http.InferRequestedOutput("OUT", class_count=2)
        result = client.infer("plain", [one_input("IN", values, "INT32")], outputs=[wanted])
    assert result.as_numpy("OUT").tolist() == [b"399999:399999", b"399998:399998"]


def test_in_a_stream_large_ones_keep_their_place(classifying: ServerProcess) -> None:
    """Large and small in turns: those that are sorted in a thread hold up nobody else, and mix nothing up."""
    heard: queue.Queue[Any] = queue.Queue()
    sizes = {"large": 400_000, "small": 5}
    with triton_grpc.InferenceServerClient(classifying.grpc) as client:
        client.start_stream(lambda result, error: heard.put(error or result))
        for turn in range(6):
            for name, size in sizes.items():
                values = np.roll(np.arange(size, dtype=np.int32), turn)
                given, wanted = (
                    triton_grpc.InferInput("IN", [size], "INT32"),
                    triton_grpc.InferRequestedOutput("OUT", 1),
                )
                given.set_data_from_numpy(values)
                client.async_stream_infer("plain", [given], outputs=[wanted], request_id=f"{name} {turn}")
        answers = {result.get_response().id: result for result in (heard.get(timeout=10) for _ in range(12))}
        client.stop_stream()
    for name, size in sizes.items():
        for turn in range(6):
            place = (size - 1 + turn) % size
            assert answers[f"{name} {turn}"].as_numpy("OUT").tolist() == [f"{size - 1}:{place}".encode()]


def test_what_is_refused(classifying: ServerProcess) -> None:
    def ask(model: str, datatype: str, data: list[Any], **parameters: Any) -> Any:
        outputs = [{"name": "OUT", "parameters": parameters}]
        shape = [1, len(data)] if model != "plain" else [len(data)]
        return infer_json(classifying, model, {"inputs": [tensor("IN", datatype, shape, data)], "outputs": outputs})

    answer = ask("flags", "BOOL", [True], classification=1)
    assert answer.status == 400
    assert "class result not available for output due to unsupported type 'BOOL'" in answer.error
    answer = ask("plain", "INT32", [1], classification=-1)
    assert answer.status == 400
    assert "'classification'" in answer.error
    answer = ask("plain", "INT32", [1], classification=1, shared_memory_region="r")
    assert answer.status == 400
    assert "Output can't set both" in answer.error
    with triton_grpc.InferenceServerClient(classifying.grpc) as client:
        wanted = triton_grpc.InferRequestedOutput("OUT", class_count=1)
        with pytest.raises(InferenceServerException, match="unsupported type 'BOOL'"):
            client.infer("flags", [grpc_input(np.array([[True]]), "BOOL")], outputs=[wanted])


@pytest.mark.ours
def test_the_number_of_results_is_limited(serve: Serve, tmp_path: Path) -> None:
    write(tmp_path, "plain", 0, "INT32", False)
    server = serve(tmp_path, options=("--max-classification-size=3",))
    body = {
        "inputs": [tensor("IN", "INT32", [4], [3, -7, 9, 1])],
        "outputs": [{"name": "OUT", "parameters": {"classification": 4}}],
    }
    answer = infer_json(server, "plain", body)
    assert answer.status == 400
    assert "classification output tensor too large" in answer.error
    body["outputs"][0]["parameters"] = {"classification": 3}
    assert infer_json(server, "plain", body).status == 200
