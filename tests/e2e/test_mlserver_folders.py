"""MLServer's folders in a real server: `pyserver start`, and Triton's models beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from tests.conftest import Serve
from tests.support.clients import ask, constant, index, infer_json, tensor
from tests.support.mlserver import ECHO, write_echo, write_settings
from tests.support.repositories import write_constant, write_model
from tools.process import ServerProcess, pyserver_command

pytestmark = pytest.mark.ours

ROOT = Path(__file__).parent.parent.parent
TELLING = """
import json, os, sys
import beside
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Telling(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        said = {"pid": os.getpid(), "prefix": sys.prefix, "version": sys.version.split()[0], "word": beside.WORD}
        said["parameters"] = self.settings.parameters.model_dump()
        output = StringCodec.encode_output("said", [json.dumps(said)])
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])
"""
DESCRIBED = [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "parameters": {"content_type": "np"}}]
ONE = {"inputs": [tensor("x", "FP32", [1], [1.5])]}


def write_telling(folder: Path, word: str = "", **settings: Any) -> Path:
    """A model that tells what it runs in, and the WORD of a module beside it."""
    write_settings(folder, **{"implementation": "models.Telling", **settings})
    (folder / "models.py").write_text(TELLING)
    (folder / "beside.py").write_text(f"WORD = {word!r}")
    return folder


def tell(server: ServerProcess, model: str) -> dict[str, Any]:
    answer = infer_json(server, model, ONE)
    assert answer.status == 200, answer
    said: dict[str, Any] = json.loads(answer.json["outputs"][0]["data"][0])
    return said


def version_of(server: ServerProcess, path: str) -> Any:
    answer = infer_json(server, path, ONE)
    return answer.json.get("model_version") if answer.status == 200 else answer.status


def load(server: ServerProcess, name: str) -> Any:
    return ask(server, "POST", f"/v2/repository/models/{name}/load")


def unload(server: ServerProcess, name: str) -> Any:
    return ask(server, "POST", f"/v2/repository/models/{name}/unload")


ASKS = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    \"\"\"Gives on whatever MLServer's model `echo` answers, and says how many outputs these are.\"\"\"

    def execute(self, requests):
        return [self.one(request.inputs()) for request in requests]

    def one(self, inputs):
        answer = pb_utils.InferenceRequest(model_name="echo", requested_output_names=[], inputs=inputs).exec()
        names = " ".join(each.name() or "?" for each in answer.output_tensors())
        return pb_utils.InferenceResponse(answer.output_tensors(), parameters={"names": names})
"""
ASKS_CONFIG = """
backend: "python"
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of `mixed`."""
    return tmp_path_factory.mktemp("mixed")


@pytest.fixture(scope="module")
def mixed(make_server: Serve, repository: Path) -> Iterator[ServerProcess]:
    """Models of both kinds in one repository, which is polled."""
    write_constant(repository, "constant", 5)
    write_echo(repository / "echo")
    write_model(repository, "asks", ASKS, ASKS_CONFIG)
    write_telling(repository / "first", "one")
    write_telling(repository / "deep" / "second", "two")
    write_telling(repository / "changing", "before")
    with make_server(repository, options=("--model-control-mode", "poll", "--repository-poll-secs", "0.2")) as running:
        yield running


@pytest.fixture(scope="module")
def started(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`pyserver start` of a folder for the tests that only read."""
    environments, folder = tmp_path_factory.mktemp("environments"), tmp_path_factory.mktemp("models")
    write_settings(
        folder, "settings.json", server_name="shop", server_version="7", extensions=["e"], http_port=1,
        metrics_endpoint="/below/metrics", grpc_max_message_length=1000, root_path="/below",
    )  # fmt: skip
    write_echo(folder / "echo", parallel_workers=2)
    for version in ("2", "10", "9"):
        write_echo(folder / "numbers" / version, name="numbers", parameters={"version": version})
    for version in ("v1.0-beta", "v1.0"):
        write_echo(folder / "words" / version, name="words", parameters={"version": version})
    write_echo(folder / "words" / "none", name="words")
    write_echo(folder / "described", inputs=DESCRIBED, parameters={"version": "v1"})
    subprocess.run(
        [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", environments / "own"], check=True
    )
    write_telling(folder / "telling", parameters={"environment_path": "$ENVIRONMENTS/own"})
    own = {"MLSERVER_SERVER_NAME": "not-me", "ENVIRONMENTS": str(environments)}
    with make_server(folder, start=True, env=own) as running:
        yield running


@pytest.fixture(scope="module")
def managed(make_server: Serve, folder: Path) -> Iterator[ServerProcess]:
    """`pyserver start` of a folder whose models are loaded when they are asked for."""
    write_settings(folder, "settings.json", load_models_at_startup=False, parallel_workers=1)
    with make_server(folder, start=True) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of `managed`."""
    folder = tmp_path_factory.mktemp("managed")
    write_telling(folder / "telling", "before")
    return folder


def test_both_kinds_side_by_side(mixed: ServerProcess) -> None:
    assert constant(mixed, "constant") == 5
    # Both have a module `models` and a module `beside`: each its own.
    assert (tell(mixed, "first")["word"], tell(mixed, "second")["word"]) == ("one", "two")
    assert ask(mixed, "GET", "/v2").json["name"] == "triton"
    # What an answer of MLServer's has beside its tensors is no tensor to who calls, and not his own answer's.
    answer = infer_json(mixed, "asks", ONE).json
    assert (answer["model_name"], answer["parameters"], answer["outputs"][0]["data"]) == ("asks", {"names": "x"}, [1.5])


def test_settings_of_the_server(started: ServerProcess) -> None:
    server = started
    assert ask(server, "GET", "/v2").json == {"name": "shop", "version": "7", "extensions": ["e"]}
    assert len(server.wait_lines(2, "process ", "echo_0")) == 2
    answer = infer_json(server, "echo", ONE).json
    assert (answer["outputs"][0]["data"], answer["model_name"]) == ([1.5], "echo")
    status, page = server.get("/below/metrics", server.metrics)
    named = 'model="echo",model_name="echo",model_version="",version="None"'
    assert (status, f"model_infer_request_success_total{{{named}}} 1" in page.decode()) == (200, True)
    assert server.get("/metrics", server.metrics)[0] == 404
    large = {"inputs": [tensor("x", "FP32", [400], [0.5] * 400)]}
    assert infer_json(server, "echo", large).status == 200
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        wanted = triton_grpc.InferInput("x", [400], "FP32")
        wanted.set_data_from_numpy(np.ones(400, np.float32))
        with pytest.raises(InferenceServerException, match="larger than max"):
            client.infer("echo", [wanted])


def test_versions_and_their_names(started: ServerProcess) -> None:
    server = started
    assert version_of(server, "numbers") == "10"
    assert version_of(server, "numbers/versions/2") == "2"
    assert version_of(server, "numbers/versions/3") == 404
    assert version_of(server, "words") is None
    assert version_of(server, "words/versions/v1.0-beta") == "v1.0-beta"
    assert version_of(server, "words/versions/1") == 404
    assert ask(server, "GET", "/v2/models/words/versions/v1.0/ready").status == 200
    listed = {key for key, entry in index(server).items() if entry["state"] == "READY"}
    assert {key for key in listed if key[0] in ("numbers", "words")} == {
        ("numbers", "2"), ("numbers", "9"), ("numbers", "10"), ("words", "v1.0"), ("words", "v1.0-beta"), ("words", ""),
    }  # fmt: skip


def test_the_walk_through_the_repository_api(managed: ServerProcess, folder: Path) -> None:
    server, telling = managed, folder / "telling"
    assert "state" not in index(server)["telling", ""]
    assert infer_json(server, "telling", ONE).status == 404
    assert load(server, "telling").status == 200
    first = tell(server, "telling")
    assert first["word"] == "before"
    assert load(server, "telling").status == 200
    assert tell(server, "telling")["pid"] == first["pid"], "nothing had changed"
    (telling / "beside.py").write_text("WORD = 'after'")
    assert load(server, "telling").status == 200
    assert tell(server, "telling")["word"] == "after"
    (telling / "models.py").write_text("import nonsense")
    refused = load(server, "telling")
    assert (refused.status, "No module named 'nonsense'" in refused.error) == (400, True)
    assert tell(server, "telling")["word"] == "after", "what served before serves on"
    write_echo(folder / "later" / "1", name="later", parameters={"version": "1"})
    assert load(server, "later").status == 200
    write_echo(folder / "later" / "2", name="later", parameters={"version": "2"})
    (folder / "later" / "1" / "model-settings.json").unlink()
    assert load(server, "later").status == 200
    assert (version_of(server, "later"), version_of(server, "later/versions/1")) == ("2", 404)
    assert unload(server, "later").status == 200
    assert infer_json(server, "later", ONE).status == 404
    assert load(server, "nope").status in (400, 404)
    assert ask(server, "POST", "/v2/repository/models/telling/load", b'{"parameters":{"config":"{}"}}').status == 400


def test_poll_mode_follows_changes(mixed: ServerProcess, repository: Path) -> None:
    assert tell(mixed, "changing")["word"] == "before"
    (repository / "changing" / "beside.py").write_text("WORD = 'after, and longer'")
    mixed.wait_until(lambda: tell(mixed, "changing")["word"] != "before", 20, "to follow")


def test_a_reload_follows_the_number_of_instances(managed: ServerProcess, folder: Path) -> None:
    write_telling(folder / "several", parallel_workers=1)
    assert load(managed, "several").status == 200
    assert ask(managed, "GET", "/v2/models/several/config").json["instance_group"][0]["count"] == 1
    write_settings(folder / "several", implementation="models.Telling", parallel_workers=3)
    assert load(managed, "several").status == 200
    config = ask(managed, "GET", "/v2/models/several/config").json
    assert config["instance_group"][0]["count"] == 3


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        (
            "settings",
            lambda folder: write_settings(folder, "settings.json", http_port="no"),
            "settings.json: 'http_port'",
        ),
        ("key", lambda folder: write_settings(folder / "m", implementation=None), "'implementation' is missing"),
        ("class", lambda folder: write_settings(folder / "m", implementation="nowhere.Class"), "named 'nowhere'"),
        (
            "artefact",
            lambda folder: write_settings(folder / "m", implementation="mlserver_sklearn.SKLearnModel"),
            "expected a file, or a folder with one of model.joblib, model.pickle, model.pkl",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_load_that_fails_at_start_ends_the_server(tmp_path: Path, name: str, write: Any, said: str) -> None:
    write(tmp_path)
    done = subprocess.run(
        pyserver_command(tmp_path, start=True), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, name
    assert said in done.stderr


def test_a_model_of_variables_alone(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(ECHO)
    environment = {"MLSERVER_MODEL_IMPLEMENTATION": "models.Echo", "MLSERVER_MODEL_NAME": "named"}
    server = serve(tmp_path, start=True, env=environment)
    assert infer_json(server, "named", ONE).json["outputs"][0]["data"] == [1.5]


def test_an_environment_by_its_path(started: ServerProcess) -> None:
    assert tell(started, "telling")["prefix"] == f"{started.env['ENVIRONMENTS']}/own"


def test_documents_of_a_model(started: ServerProcess) -> None:
    server = started
    made = ask(server, "GET", "/v2/models/described/versions/v1/docs/dataplane.json").json
    assert made["servers"] == [{"url": "/below"}]
    for path in ("infer", "infer_stream"):
        path = f"/v2/models/described/versions/v1/{path}"
        body = made["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert body["inputs"][0] == {
            "name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"content_type": "np"}, "data": [0.0, 0.0],
        }  # fmt: skip
        assert ask(server, "POST", path, json.dumps(body).encode()).status == 200
    assert ask(server, "GET", "/v2/models/described/docs").status == 200


def test_a_new_project_passes_its_own_tests(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    made = [sys.executable, "-m", "pyserver", "init", "my-model"]
    subprocess.run(made, cwd=tmp_path, env=environment, check=True, timeout=60, capture_output=True)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "tests"]
    done = subprocess.run(
        tests, cwd=tmp_path / "my-model", env=environment, check=False, timeout=100, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_debug_asks_the_example_of_the_documents(tmp_path: Path) -> None:
    write_echo(tmp_path / "echo", inputs=DESCRIBED)
    command = [sys.executable, "-m", "pyserver", "debug", "echo", "--model-repository", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["outputs"][0]["data"] == [0.0, 0.0]


def test_one_model_that_does_not_load_is_no_trouble_of_the_others(serve: Serve, tmp_path: Path) -> None:
    write_echo(tmp_path / "good")
    write_settings(tmp_path / "lost", implementation="mlserver_sklearn.SKLearnModel", parameters={"uri": "./lost.bin"})
    write_settings(tmp_path / "bad", implementation="nowhere.Class")
    server = serve(tmp_path, start=True, options=("--exit-on-error=false",), ready=False)
    server.wait_log("failed to load 'bad'")
    server.wait_log("successfully loaded 'good'")
    wanted = "expected a file, or a folder with one of model.joblib, model.pickle, model.pkl"
    assert f"'parameters.uri' is '{tmp_path}/lost/lost.bin', {wanted}" in server.wait_log("lost.bin")
    entry = index(server)["bad", ""]
    assert (entry["state"], "No module named 'nowhere'" in entry["reason"]) == ("UNAVAILABLE", True)
    assert infer_json(server, "good", ONE).status == 200
