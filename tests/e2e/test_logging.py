"""The log of a real server: its settings over both protocols, its formats, the access log, lines nobody can forge."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http
from tritonclient.utils import InferenceServerException

from tests.conftest import Serve
from tests.support.clients import Answer, ask, infer_json, tensor
from tests.support.repositories import write_constant
from tools.process import ServerProcess

ASKED = {"inputs": [tensor("ASKED", "BOOL", [1], [True])]}
USUAL = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}
DEFAULT = re.compile(r"[VIWE]\d{4} \d\d:\d\d:\d\d\.\d{6} \d+ \w+\.py:\d+\] .*")
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [VIWE] \d+ \w+\.py:\d+\] .*")


def settings(server: ServerProcess, changes: Any = None) -> Answer:
    body = b"" if changes is None else json.dumps(changes).encode()
    return ask(server, "GET" if changes is None else "POST", "/v2/logging", body)


@pytest.fixture(scope="module")
def quiet(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("models")
    write_constant(repository, "constant")
    with make_server(repository) as server:
        yield server


@pytest.fixture
def running(quiet: ServerProcess) -> Iterator[ServerProcess]:
    """A server whose settings may be changed: they are changed back."""
    yield quiet
    assert settings(quiet, {key: value for key, value in USUAL.items() if key != "log_file"}).json == USUAL


def test_settings_over_rest(running: ServerProcess) -> None:
    assert settings(running).json == USUAL
    changed = settings(running, {"log_info": False, "log_verbose_level": 1, "log_format": "ISO8601", "unknown": 1})
    assert changed.json == settings(running).json
    assert changed.json == {**USUAL, "log_info": False, "log_verbose_level": 1, "log_format": "ISO8601"}
    with triton_http.InferenceServerClient(running.http) as client:
        assert client.update_log_settings({"log_info": True, "log_format": "default"})["log_info"] is True
        assert client.get_log_settings()["log_verbose_level"] == 1


def test_settings_over_grpc(running: ServerProcess) -> None:
    with triton_grpc.InferenceServerClient(running.grpc) as client:
        assert client.get_log_settings(as_json=True)["settings"]["log_error"] == {"bool_param": True}
        found = client.update_log_settings({"log_warning": False, "log_verbose_level": 2, "log_format": "json"})
        assert found.settings["log_warning"].bool_param is False
        assert found.settings["log_verbose_level"].uint32_param == 2
        assert found.settings["log_format"].string_param == "json"
        with pytest.raises(InferenceServerException, match="log file location can not be updated"):
            client.update_log_settings({"log_file": "/tmp/x"})
        with pytest.raises(InferenceServerException, match="got: abc"):
            client.update_log_settings({"log_format": "abc"})
    assert settings(running).json["log_verbose_level"] == 2


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"log_info": "no"}, 400, "attempt to access JSON non-boolean as boolean: 'log_info' is 'no'"),
        ({"log_verbose_level": -1}, 400, "non-unsigned as unsigned: 'log_verbose_level' is -1"),
        ({"log_verbose_level": True}, 400, "non-unsigned as unsigned"),
        ({"log_format": "abc"}, 400, "invalid argument for --log_format, got: abc"),
        ({"log_file": "x"}, 501, "log file location can not be updated through network protocol"),
        ({"log_info": False, "log_format": "abc"}, 400, "got: abc"),
        ([], 400, "expected an object"),
    ],
)
def test_what_the_settings_refuse(running: ServerProcess, changes: Any, status: int, said: str) -> None:
    answer = settings(running, changes)
    assert (answer.status, said in answer.error) == (status, True), answer
    assert settings(running).json == USUAL


def test_changes_take_effect_at_once(running: ServerProcess) -> None:
    infer_json(running, "constant", {**ASKED, "id": "quiet"})
    settings(running, {"log_verbose_level": 1})
    infer_json(running, "constant", {**ASKED, "id": "seen"})
    line = running.wait_log("[seen]")
    assert DEFAULT.fullmatch(line)
    assert re.search(
        r"^V.* 127\.0\.0\.1 http POST /v2/models/constant/infer 200 \d+ bytes \d+\.\d{3} ms \[seen\]$", line
    )
    settings(running, {"log_format": "ISO8601"})
    infer_json(running, "constant", {**ASKED, "id": "second"})
    assert ISO.fullmatch(running.wait_log("[second]"))
    settings(running, {"log_format": "json"})
    infer_json(running, "constant", {**ASKED, "id": "third"})
    line = running.wait_log('"third"')
    assert json.loads(line)["requests"] == "third"
    settings(running, {"log_verbose_level": 0})
    infer_json(running, "constant", {**ASKED, "id": "hidden"})
    settings(running, {"log_format": "default"})
    with triton_http.InferenceServerClient(running.http) as client:
        client.is_server_live()
    assert not any("quiet" in line or "hidden" in line for line in running.lines)


def test_the_access_log_has_a_line_for_every_request(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "constant")
    server = serve(tmp_path, options=("--access-log", "--log-format", "json"))
    infer_json(server, "constant", {**ASKED, "id": "a"})
    infer_json(server, "constant", {**ASKED, "id": "b"}, **{"Accept-Encoding": "gzip"})
    infer_json(server, "missing", ASKED)
    ask(server, "GET", "/v2/models/constant/config")
    ask(server, "GET", "/no%0Asuchthing")
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        asked = triton_grpc.InferInput("ASKED", [1], "BOOL")
        asked._raw_content = b"\x01"
        client.infer("constant", [asked], request_id="g")
        client.get_server_metadata()
        with pytest.raises(InferenceServerException):
            client.infer("missing", [asked], request_id="m")
        client.start_stream(lambda result, error: None)
        client.async_stream_infer("constant", [asked], request_id="s1")
        client.async_stream_infer("missing", [asked], request_id="s2")
        client.stop_stream()

    def lines() -> list[tuple[str, str, int, str]]:
        found = [json.loads(line) for line in list(server.lines) if '"pyserver.access"' in line]
        assert all(line["level"] == "info" and 0 <= line["milliseconds"] < 30_000 for line in found)
        return [
            (line["protocol"], line["path"], line["status"], line.get("requests", ""))
            for line in found
            if "/health/" not in line["path"]
        ]

    rpc = "/inference.GRPCInferenceService/"
    wanted = [
        ("http", "/v2/models/constant/infer", 200, "a"),
        ("http", "/v2/models/constant/infer", 200, "b"),
        ("http", "/v2/models/missing/infer", 404, ""),
        ("http", "/v2/models/constant/config", 200, ""),
        ("http", "/no%0Asuchthing", 404, ""),
        ("grpc", f"{rpc}ModelInfer", 0, "g"),
        ("grpc", f"{rpc}ServerMetadata", 0, ""),
        ("grpc", f"{rpc}ModelInfer", 5, "m"),
        ("grpc", f"{rpc}ModelStreamInfer", 0, ""),
        ("grpc", f"{rpc}ModelStreamInfer", 0, "s1"),
        ("grpc", f"{rpc}ModelStreamInfer", 5, "s2"),
    ]
    server.wait_until(lambda: len(lines()) >= len(wanted), 10, "to log all requests")
    assert lines()[:8] == wanted[:8]
    assert sorted(lines()[8:]) == wanted[8:], "the answers to a stream's requests come in any order"
    sizes = [json.loads(line)["size"] for line in server.lines if '"/v2/models/constant/config"' in line]
    assert sizes[0] > 100
    assert all(json.loads(line)["message"] for line in server.lines if line.startswith("{"))


def test_no_request_can_forge_a_line(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "constant")
    server = serve(tmp_path, options=("--access-log",))
    forged = "E1121 08:00:00.000000 1 server.py:1] all is lost"
    infer_json(server, "constant", {**ASKED, "id": f"x\n{forged}\r\x1b[31m\u2028\u0085"})
    line = server.wait_log("all is lost")
    assert line.endswith(f"[x\\n{forged}\\r\\x1b[31m\\u2028\\x85]")
    assert ask(server, "POST", "/v2/repository/models/a%0Ab/load").status >= 400
    assert not any(line.startswith(forged) for line in server.lines)
    assert all(DEFAULT.fullmatch(line) for line in server.lines if line and not line.startswith("    "))


def test_the_log_goes_to_a_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pyserver", "--model-repository", str(tmp_path / "none"), "--log-file"]
    file = tmp_path / "server.log"
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")
    assert "none" in file.read_text()
    done = subprocess.run([*command, str(tmp_path / "no" / "where")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"pyserver: --log-file {tmp_path}/no/where: No such file or directory\n"
