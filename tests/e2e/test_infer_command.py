"""`pyserver infer` against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyserver.cli.infer import command
from tests.support.clients import tensor
from tools.process import ServerProcess

pytestmark = pytest.mark.ours


def write(path: Path, *documents: Any) -> Path:
    path.write_text("".join(f"{json.dumps(document)}\n" for document in documents))
    return path


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def asked(number: int) -> dict[str, Any]:
    row = [float(number)] * 4
    return {"id": f"r{number}", "inputs": [tensor(name, "FP32", [4], row) for name in ("INPUT0", "INPUT1")]}


@pytest.mark.parametrize("how", [("rest",), ("rest", "-b"), ("grpc",)], ids=" ".join)
def test_numbers(server: ServerProcess, tmp_path: Path, how: tuple[str, ...]) -> None:
    given = write(tmp_path / "in", *map(asked, range(30)), {"inputs": [tensor("INPUT0", "FP32", [4], [1.0] * 4)]})
    url = server.grpc if how[0] == "grpc" else server.http
    arguments = ["-u", url, "-m", "add_sub", "-i", str(given), "-o", str(tmp_path / "out"), "-t", *how]
    assert command.main(arguments) == 1
    *found, refused = read(tmp_path / "out")
    assert [document["id"] for document in found] == [f"r{number}" for number in range(30)]
    outputs = {output["name"]: output["data"] for output in found[7]["outputs"]}
    assert outputs == {"OUTPUT0": [14.0] * 4, "OUTPUT1": [0.0] * 4}
    assert found[7]["parameters"] == {"batch_index": 7, "inference_id": "r7"}
    assert refused["parameters"] == {"batch_index": 30}
    assert "expected 2 inputs but got 1 inputs" in refused["error"]["msg"]


@pytest.mark.parametrize("how", [("rest",), ("rest", "-b"), ("grpc",)], ids=" ".join)
def test_texts(server: ServerProcess, tmp_path: Path, how: tuple[str, ...]) -> None:
    inputs = [tensor("BYTES", "BYTES", [1, 2], ["äö", ""])]
    given = write(tmp_path / "in", {"inputs": inputs, "outputs": [{"name": "BYTES_OUT"}]})
    url = server.grpc if how[0] == "grpc" else server.http
    arguments = ["-u", url, "-m", "identity", "-i", str(given), "-o", str(tmp_path / "out"), "-t", *how]
    assert command.main(arguments) == 0, read(tmp_path / "out")
    (found,) = read(tmp_path / "out")
    assert found["outputs"][0]["data"] == ["äö", ""]


def test_through_pipes_and_variables(server: ServerProcess) -> None:
    environment = {
        **os.environ, "MLSERVER_INFER_URL": server.http, "MLSERVER_INFER_MODEL_NAME": "add_sub",
        "MLSERVER_INFER_INPUT_DATA_PATH": "-", "MLSERVER_INFER_OUTPUT_DATA_PATH": "-",
    }  # fmt: skip
    given = "".join(f"{json.dumps(asked(number))}\n" for number in range(3))
    done = subprocess.run(
        [sys.executable, "-m", "pyserver", "infer"],
        input=given,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["r0", "r1", "r2"]
    assert done.stderr.startswith("3 requests in ")


def test_nobody_listens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = write(tmp_path / "in", asked(1))
    arguments = ["-u", "127.0.0.1:1", "-m", "m", "-i", str(given), "-o", str(tmp_path / "out"), "-r", "0"]
    assert command.main(arguments) == 1
    assert "127.0.0.1:1: " in read(tmp_path / "out")[0]["error"]["msg"]
    assert command.main([*arguments[:5], str(tmp_path / "no"), *arguments[6:]]) == 1
    assert f"'{tmp_path}/no': No such file" in capsys.readouterr().err
