"""The generate extension: flat JSON in, flat JSON or server-sent events out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.clients import Answer, ask
from tests.support.decoupled import ODD, REPEAT, write_decoupled
from tests.support.repositories import write_model
from tools.process import ServerProcess

ECHO = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            text = pb_utils.get_input_tensor_by_name(request, "text_input").as_numpy()
            scale = pb_utils.get_input_tensor_by_name(request, "scale")
            said = json.loads(request.parameters())
            outputs = [pb_utils.Tensor("text_output", text)]
            if scale is not None:
                outputs.append(pb_utils.Tensor("scaled", 2 * scale.as_numpy()))
            if said.get("fail"):
                error = pb_utils.TritonError("not today", pb_utils.TritonError.UNAVAILABLE)
                responses.append(pb_utils.InferenceResponse(error=error))
            else:
                responses.append(pb_utils.InferenceResponse(outputs, parameters={"said": request.parameters()}))
        return responses
"""
ECHO_CONFIG = """
backend: "python"
max_batch_size: 8
input [
  { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "scale" data_type: TYPE_FP32 dims: [ 2 ] optional: true }
]
output [
  { name: "text_output" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "scaled" data_type: TYPE_FP32 dims: [ 2 ] }
]
"""


@pytest.fixture(scope="module")
def generating(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("generate")
    write_model(repository, "echo", ECHO, ECHO_CONFIG)
    write_decoupled(repository, "repeat", REPEAT)
    write_decoupled(repository, "odd", ODD)
    with make_server(repository) as running:
        yield running


def generate(server: ServerProcess, model: str, value: Any, how: str = "generate") -> Answer:
    return ask(server, "POST", f"/v2/models/{model}/{how}", json.dumps(value).encode())


def events(answer: Answer) -> list[Any]:
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    parts = answer.body.split(b"\n\n")
    assert parts.pop() == b""
    assert all(part.startswith(b"data: ") for part in parts)
    return [json.loads(part[6:]) for part in parts]


def test_one_response(generating: ServerProcess) -> None:
    asked = {"id": "X1", "text_input": "hé", "n": 2, "parameters": {"scale": [1.5, 2], "foo": "bar"}}
    answer = generate(generating, "echo", asked)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.json["said"]) == {"id": "X1", "n": 2, "foo": "bar"}
    rest = {key: value for key, value in answer.json.items() if key != "said"}
    assert rest == {
        "id": "X1", "model_name": "echo", "model_version": "1", "scaled": [3.0, 4.0], "text_output": "hé",
    }  # fmt: skip
    assert list(answer.json) == sorted(answer.json)


def test_a_list_is_a_batch(generating: ServerProcess) -> None:
    assert generate(generating, "echo", {"text_input": ["a", "b"]}).json["text_output"] == ["a", "b"]


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        ([], 400, "non-object"),
        ({"text_input": 3}, 400, "input 'text_input' can't take the number 3"),
        ({"text_input": "a", "scale": [1, 2, 3]}, 400, "can not convert input 'scale' to tensor with proper shape"),
        ({"text_input": "a", "parameters": 3}, 400, "Expected JSON object for keyword: 'parameters'"),
        ({"text_input": "a", "parameters": {"text_input": "b"}}, 400, "'text_input' already exists in request"),
        ({"scale": [1, 2]}, 400, "text_input"),
        ({"text_input": "a", "x": None}, 400, "parameter 'x'"),
        ({"text_input": "a", "fail": True}, 503, "not today"),
    ],
)
def test_errors(generating: ServerProcess, asked: Any, status: int, text: str) -> None:
    answer = generate(generating, "echo", asked)
    assert text in answer.error
    assert answer.status == status, answer
    if status == 400:
        assert generate(generating, "echo", asked, "generate_stream").status == status


def test_unknown_model(generating: ServerProcess) -> None:
    assert generate(generating, "nope", {}).status == 404


def test_a_stream_of_events(generating: ServerProcess) -> None:
    answer = generate(generating, "repeat", {"IN": [1, 2, 3]}, "generate_stream")
    assert answer.status == 200
    assert [event["OUT"] for event in events(answer)] == [1, 2, 3]
    assert generate(generating, "echo", {"text_input": "a"}, "generate_stream").body.count(b"data: ") == 1


def test_exactly_one(generating: ServerProcess) -> None:
    assert generate(generating, "repeat", {"IN": [7]}).json["OUT"] == 7
    for values in ([], [1, 2]):
        answer = generate(generating, "repeat", {"IN": values})
        assert (answer.status, answer.error[:52]) == (200, "generate expects model to produce exactly 1 response")
    answer = generate(generating, "repeat", {"IN": []}, "generate_stream")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.ours
def test_the_status_is_that_of_the_first_error(generating: ServerProcess) -> None:
    answer = generate(generating, "odd", {"IN": [5]}, "generate_stream")
    assert (answer.status, events(answer)) == (501, [{"error": "unsupported at once"}])


def test_an_error_in_the_middle_is_an_event(generating: ServerProcess) -> None:
    answer = generate(generating, "odd", {"IN": [2]}, "generate_stream")
    assert answer.status == 200
    assert [event.get("OUT", event.get("error")) for event in events(answer)] == [1, "an error", 2]
