"""What a model can do wrong or say, as its caller and its operator see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import ask, infer_json, tensor
from tests.support.repositories import copy_model
from tools import proc
from tools.environments import environment, interpreters
from tools.process import ServerProcess

ERRORS = {
    "UNKNOWN": 400,
    "INTERNAL": 500,
    "NOT_FOUND": 404,
    "INVALID_ARG": 400,
    "UNAVAILABLE": 503,
    "UNSUPPORTED": 501,
    "ALREADY_EXISTS": 400,
    "CANCELLED": 400,
}
WRONG = {
    "raise": "ValueError: no such luck",
    "tuple": "Expected a list in the execute return, found type '<class 'tuple'>'",
    "too few": "Number of InferenceResponse objects do not match the number of InferenceRequest objects",
    "not a response": "Expected an 'InferenceResponse' object in the execute function return list",
    "exit": "SystemExit: 7",
}


def text(name: str, value: str) -> dict[str, object]:
    return {"inputs": [tensor(name, "BYTES", [1], [value])]}


@pytest.mark.parametrize(("code", "status"), ERRORS.items())
def test_an_error_of_the_models_own(server: ServerProcess, code: str, status: int) -> None:
    answer = infer_json(server, "failing", text("HOW", code))
    assert (answer.status, answer.error) == (status, f"refused as {code}")


@pytest.mark.parametrize(("how", "says"), WRONG.items())
def test_what_execute_does_wrong(server: ServerProcess, how: str, says: str) -> None:
    answer = infer_json(server, "failing", text("HOW", how))
    assert answer.status == 500
    assert says in answer.error
    if how == "raise":
        assert "Failed to process the request(s) for model 'failing" in answer.error
        assert "model.py" in answer.error
        assert "execute" in answer.error


def test_what_a_model_says_reaches_the_log(server: ServerProcess) -> None:
    said = "a line worth reading"
    assert infer_json(server, "printing", text("TEXT", said)).status == 200
    for way in ("stdout", "stderr", "logging", "logger"):
        server.wait_log(f"{way} {said}")


@pytest.mark.ours
def test_what_a_model_prints_carries_its_name(server: ServerProcess) -> None:
    infer_json(server, "printing", text("TEXT", "whose line is this"))
    for way in ("stdout", "stderr"):
        assert "printing" in server.wait_log(f"{way} whose line is this")


def test_what_initialize_is_given(server: ServerProcess) -> None:
    outputs = whoami(server)
    args = json.loads(outputs["ARGS"])
    assert args["model_name"] == "whoami"
    assert args["model_version"] == "1"
    assert args["model_instance_name"] == "whoami_0_0" or args["model_instance_name"] == "whoami_0"
    assert args["model_instance_kind"] == "CPU"
    assert args["model_repository"].endswith("/whoami")
    assert json.loads(args["model_config"])["name"] == "whoami"


def whoami(server: ServerProcess) -> dict[str, str]:
    answer = infer_json(server, "whoami", {"inputs": [tensor("ASKED", "BOOL", [1], [True])]})
    assert answer.status == 200, answer
    return {output["name"]: output["data"][0] for output in answer.json["outputs"]}


@pytest.mark.ours
def test_a_model_runs_in_a_process_of_its_own(server: ServerProcess) -> None:
    assert int(whoami(server)["PID"]) in proc.stubs(server.pid)


VERSIONS = sorted(interpreters())


@pytest.mark.ours
@pytest.mark.timeout(400)  # the first time numpy has to be installed
@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]], ids=lambda version: ".".join(map(str, version)))
def test_a_model_runs_under_its_own_interpreter(serve: Serve, tmp_path: Path, version: tuple[int, int]) -> None:
    numpy = "numpy==1.24.4" if version == (3, 8) else "numpy"
    python = environment(f"model-{version[0]}.{version[1]}", [numpy], interpreters()[version]) / "bin/python"
    for name in ("whoami", "identity"):
        model = copy_model(tmp_path, name)
        with (model / "config.pbtxt").open("a") as config:
            config.write(f'parameters {{ key: "PYTHON_EXECUTABLE" value {{ string_value: "{python}" }} }}\n')
    server = serve(tmp_path)
    assert whoami(server)["PYTHON"].startswith(f"{version[0]}.{version[1]}.")
    strings = tensor("BYTES", "BYTES", [1, 2], ["one", "two"])
    answer = infer_json(server, "identity", {"inputs": [strings, tensor("FP32", "FP32", [1, 2], [1, 2])]})
    outputs = {output["name"]: output["data"] for output in answer.json["outputs"]}
    assert outputs == {"BYTES_OUT": ["one", "two"], "FP32_OUT": [1.0, 2.0]}


@pytest.mark.ours
def test_an_interpreter_that_is_not_there(serve: Serve, tmp_path: Path) -> None:
    model = copy_model(tmp_path, "whoami")
    with (model / "config.pbtxt").open("a") as config:
        config.write('parameters { key: "PYTHON_EXECUTABLE" value { string_value: "/nowhere/python" } }\n')
    server = serve(tmp_path, ready=False, options=("--exit-on-error", "false"))
    server.wait_log("/nowhere/python")
    assert ask(server, "GET", "/v2/models/whoami/ready").status == 400
