"""Repositories: several, broken, changing, with versions and without configuration."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import ask, constant, index, infer_json, tensor
from tests.support.repositories import CONSTANT_CONFIG, MODELS, copy_model, write_constant, write_model
from tools.process import ServerProcess, ServerProcessError

EXPLICIT = ("--model-control-mode", "explicit")


def load(server: ServerProcess, model: str, **parameters: str) -> tuple[int, str]:
    """Ask to load: status and error message."""
    body = json.dumps({"parameters": parameters}).encode() if parameters else b""
    answer = ask(server, "POST", f"/v2/repository/models/{model}/load", body)
    return answer.status, answer.error if answer.body else ""


def unload(server: ServerProcess, model: str) -> int:
    return ask(server, "POST", f"/v2/repository/models/{model}/unload").status


def states(server: ServerProcess) -> dict[str, str]:
    return {name: entry.get("state", "") for (name, _), entry in index(server).items()}


def test_several_repositories(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path / "a", "one", 1)
    write_constant(tmp_path / "b", "two", 2)
    server = serve(tmp_path / "a", tmp_path / "b")
    assert (constant(server, "one"), constant(server, "two")) == (1, 2)
    assert states(server) == {"one": "READY", "two": "READY"}


def test_versions(server: ServerProcess) -> None:
    asked = {"inputs": [tensor("ASKED", "BOOL", [1], [True])]}
    assert ask(server, "GET", "/v2/models/versions").json["versions"] == ["1", "3"]
    answer = infer_json(server, "versions", asked).json
    assert (answer["model_version"], answer["outputs"][0]["data"]) == ("3", [3])
    answer = infer_json(server, "versions/versions/1", asked).json
    assert (answer["model_version"], answer["outputs"][0]["data"]) == ("1", [1])
    assert infer_json(server, "versions/versions/2", asked).status == 404


def test_latest_is_the_default_policy_and_not_all_folders_are_versions(serve: Serve, tmp_path: Path) -> None:
    for version in (1, 2, 10):
        write_constant(tmp_path, "several", version, version)
    for other in ("0", "02", "notes", "-1"):
        shutil.copytree(tmp_path / "several/1", tmp_path / "several" / other)
    server = serve(tmp_path)
    assert ask(server, "GET", "/v2/models/several").json["versions"] == ["10"]
    assert constant(server, "several") == 10


def test_without_config(server: ServerProcess) -> None:
    """auto_complete has no config.pbtxt: its backend is told by its model.py, the rest by itself."""
    config = ask(server, "GET", "/v2/models/auto_complete/config").json
    assert (config["backend"], config["max_batch_size"]) == ("python", 4)
    answer = infer_json(server, "auto_complete", {"inputs": [tensor("TEXT", "BYTES", [2, 1], ["a", "b"])]})
    assert answer.json["outputs"][0]["data"] == ["A", "B"]


@pytest.mark.ours
def test_an_unknown_field_is_named_with_its_place(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "good")
    write_constant(tmp_path, "odd")
    (tmp_path / "odd/config.pbtxt").write_text(f"{CONSTANT_CONFIG.strip()}\nmax_batchsize: 4\n")
    server = serve(tmp_path, ready=False, options=("--exit-on-error", "false"))
    server.wait_until(lambda: states(server).get("good") == "READY", 20, "to load the good model")
    (reason,) = (entry["reason"] for (name, _), entry in index(server).items() if name == "odd")
    assert re.search(r"config\.pbtxt:4", reason), reason
    assert "max_batchsize" in reason
    assert constant(server, "good") == 1


RAISES = """class TritonPythonModel:
    def initialize(self, args):
        raise RuntimeError("no luck today")
"""
BROKEN = {
    "raises": (RAISES, "no luck today"),
    "syntax": ("class TritonPythonModel\n", "SyntaxError"),
    "imports": ("import a_module_that_is_not_there\n", "a_module_that_is_not_there"),
    "empty": ("", "TritonPythonModel"),
    "exits": ("import os\nos._exit(5)\n", "5"),
}  # fmt: skip


@pytest.mark.ours
def test_broken_models_harm_nobody_and_say_why(serve: Serve, tmp_path: Path) -> None:
    for name, (source, _) in BROKEN.items():
        write_model(tmp_path, name, source, CONSTANT_CONFIG)
    write_constant(tmp_path, "good")
    server = serve(tmp_path, ready=False, options=("--exit-on-error", "false"))
    tried = {"good": "READY", **dict.fromkeys(BROKEN, "UNAVAILABLE")}
    server.wait_until(lambda: states(server) == tried, 60, "to try all models")
    assert constant(server, "good") == 1
    assert not server.is_ready()
    for name, (_, says) in BROKEN.items():
        entry = index(server)[name, "1"]
        assert says in entry["reason"]
        answer = infer_json(server, name, {"inputs": [tensor("ASKED", "BOOL", [1], [True])]})
        assert answer.status in {404, 503}, answer
    assert re.search(r"model\.py.*\b3\b.*initialize", index(server)["raises", "1"]["reason"]), "the traceback"


def test_readiness_that_is_not_strict(serve: Serve, tmp_path: Path) -> None:
    write_model(tmp_path, "raises", BROKEN["raises"][0], CONSTANT_CONFIG)
    write_constant(tmp_path, "good")
    server = serve(tmp_path, options=("--exit-on-error=false", "--strict-readiness=false"))
    assert server.is_ready()
    assert constant(server, "good") == 1


def test_exit_on_error(make_server: Serve, tmp_path: Path) -> None:
    write_model(tmp_path, "raises", BROKEN["raises"][0], CONSTANT_CONFIG)
    server = make_server(tmp_path)
    with pytest.raises(ServerProcessError):
        server.start()
    assert server.process is not None
    assert server.process.returncode not in {0, -9}
    assert "no luck today" in server.log


def test_explicit_mode(serve: Serve, tmp_path: Path) -> None:
    for name, value in (("one", 1), ("two", 2)):
        write_constant(tmp_path, name, value)
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "one"))
    assert constant(server, "one") == 1
    assert infer_json(server, "two", {"inputs": []}).status == 404
    assert load(server, "two") == (200, "")
    assert constant(server, "two") == 2
    assert unload(server, "one") == 200
    server.wait_until(lambda: states(server)["one"] == "UNAVAILABLE", 10, "to unload")
    assert index(server)["one", "1"]["reason"] == "unloaded"
    assert infer_json(server, "one", {"inputs": []}).status == 404
    assert load(server, "one") == (200, "")
    assert constant(server, "one") == 1


def test_reload_takes_what_has_changed(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "changing", 1)
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "*"))
    assert constant(server, "changing") == 1
    write_constant(tmp_path, "changing", 2)
    assert load(server, "changing") == (200, "")
    assert constant(server, "changing") == 2


@pytest.mark.ours  # Triton does as well, but can then not end within its timeout
def test_a_reload_that_fails_keeps_what_serves(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "changing", 1)
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "changing"))
    write_model(tmp_path, "changing", BROKEN["syntax"][0], CONSTANT_CONFIG)
    status, error = load(server, "changing")
    assert status == 400
    assert "SyntaxError" in error
    assert constant(server, "changing") == 1


@pytest.mark.ours
def test_reload_under_load_fails_nobody(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "changing", 0)
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "changing"))
    seen: list[int] = []
    failed: list[BaseException] = []
    done = threading.Event()

    def keep_asking() -> None:
        try:
            while not done.is_set():
                seen.append(constant(server, "changing"))
        except BaseException as error:
            failed.append(error)

    askers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for asker in askers:
        asker.start()
    for value in (1, 2, 3):
        write_constant(tmp_path, "changing", value)
        assert load(server, "changing") == (200, "")
    done.set()
    for asker in askers:
        asker.join()
    assert not failed
    assert set(seen) >= {0, 3} or len(set(seen)) > 1
    assert constant(server, "changing") == 3


def test_control_is_refused_where_it_is_off(server: ServerProcess) -> None:
    status, error = load(server, "add_sub")
    assert status == 503
    assert "explicit model load / unload is not allowed" in error
    assert unload(server, "add_sub") == 503


def test_loading_what_is_not_there(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "one")
    server = serve(tmp_path, options=EXPLICIT)
    status, error = load(server, "nope")
    assert status in {400, 404, 500}
    assert "failed to load 'nope'" in error
    assert unload(server, "nope") == 200


@pytest.mark.ours
def test_names_that_lead_out_of_the_repository(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path / "outside", "secret")
    (tmp_path / "inside").mkdir()
    server = serve(tmp_path / "inside", options=EXPLICIT)
    for name in ("..%2Foutside%2Fsecret", "../outside/secret", "..", "%2e%2e", "a;b", "a%00b"):
        assert ask(server, "POST", f"/v2/repository/models/{name}/load").status >= 400
    assert index(server) == {}


@pytest.mark.ours
def test_twenty_models_load_while_health_answers(serve: Serve, tmp_path: Path) -> None:
    for number in range(20):
        write_constant(tmp_path, f"model_{number}", number)
    server = serve(tmp_path, ready=False)
    slowest = 0.0
    while not server.is_ready():
        asked = time.monotonic()
        assert server.get("/v2/health/live")[0] == 200
        slowest = max(slowest, time.monotonic() - asked)
        assert not server.exited(0.01), server.log
    assert slowest < 1
    assert [constant(server, f"model_{number}") for number in range(20)] == list(range(20))


def test_the_same_files_serve_twice(serve: Serve) -> None:
    """Two servers on one repository don't know of each other."""
    first, second = serve(MODELS), serve(MODELS)
    ones = {"inputs": [tensor(name, "FP32", [4], [1, 1, 1, 1]) for name in ("INPUT0", "INPUT1")]}
    for server in (first, second):
        assert infer_json(server, "add_sub", ones).json["outputs"][0]["data"] == [2.0, 2.0, 2.0, 2.0]


def test_copied_under_another_name(serve: Serve, tmp_path: Path) -> None:
    copy_model(tmp_path, "versions", under="renamed")
    assert ask(serve(tmp_path), "GET", "/v2/models/renamed").json["name"] == "renamed"
