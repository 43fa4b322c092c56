"""curl, as it comes: the documentation's way to ask."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from tools.process import ServerProcess

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

VECTORS: dict[str, Any] = {
    "id": "7",
    "inputs": [
        {"name": "INPUT0", "datatype": "FP32", "shape": [4], "data": [1, 2, 3, 4]},
        {"name": "INPUT1", "datatype": "FP32", "shape": [4], "data": [0.5, 0.5, 0.5, 0.5]},
    ],
}
SUM, DIFFERENCE = [1.5, 2.5, 3.5, 4.5], [0.5, 1.5, 2.5, 3.5]


def curl(server: ServerProcess, path: str, *options: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Run curl on `path`; the body, if any, comes from its standard input. Status and body of the answer."""
    given = ["--data-binary", "@-"] if body is not None else []
    command = ["curl", "-s", "-S", "--max-time", "30", "-w", "%{stderr}%{http_code}", *given, *options]
    done = subprocess.run([*command, f"http://{server.http}{path}"], input=body, capture_output=True, check=True)
    return int(done.stderr), done.stdout


def outputs(body: bytes) -> dict[str, Any]:
    return {output["name"]: output.get("data") for output in json.loads(body)["outputs"]}


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-H", "Content-Type: application/json"],
        ["-H", "Transfer-Encoding: chunked"],
        ["-H", "Expect: 100-continue"],
        ["--http1.0"],
        ["-H", "Connection: close"],
    ],
    ids=" ".join,
)
def test_json(server: ServerProcess, options: list[str]) -> None:
    status, body = curl(server, "/v2/models/add_sub/infer", *options, body=json.dumps(VECTORS).encode())
    assert status == 200, body
    assert json.loads(body)["id"] == "7"
    assert outputs(body) == {"OUTPUT0": SUM, "OUTPUT1": DIFFERENCE}


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_request(server: ServerProcess, encoding: str, compress: Any) -> None:
    body = compress(json.dumps(VECTORS).encode())
    status, answer = curl(server, "/v2/models/add_sub/infer", "-H", f"Content-Encoding: {encoding}", body=body)
    assert status == 200, answer
    assert outputs(answer)["OUTPUT0"] == SUM


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_answer(server: ServerProcess, encoding: str) -> None:
    asked = ["-H", f"Accept-Encoding: {encoding}"]
    status, answer = curl(server, "/v2/models/add_sub/infer", *asked, body=json.dumps(VECTORS).encode())
    assert status == 200
    assert outputs(gzip.decompress(answer) if encoding == "gzip" else zlib.decompress(answer))["OUTPUT0"] == SUM


def test_binary_there_and_back(server: ServerProcess) -> None:
    header = json.dumps(
        {
            "inputs": [
                {"name": name, "datatype": "FP32", "shape": [4], "parameters": {"binary_data_size": 16}}
                for name in ("INPUT0", "INPUT1")
            ],
            "outputs": [{"name": "OUTPUT1", "parameters": {"binary_data": True}}],
        }
    ).encode()
    body = header + b"".join(struct.pack("<4f", *entry["data"]) for entry in VECTORS["inputs"])
    length = f"Inference-Header-Content-Length: {len(header)}"
    status, answer = curl(server, "/v2/models/add_sub/infer", "-H", length, body=body)
    assert status == 200, answer
    assert struct.unpack("<4f", answer[-16:]) == tuple(DIFFERENCE)


@pytest.mark.ours  # Triton 2.51 ends with SIGSEGV on either
@pytest.mark.parametrize("options", [[], ["-H", "Transfer-Encoding: chunked"]], ids=["length", "chunked"])
def test_16_megabytes_from_a_file(server: ServerProcess, tmp_path: Path, options: list[str]) -> None:
    data = bytes(range(256)) * (1 << 16)
    size = {"binary_data_size": len(data)}
    tensor = {"name": "UINT8", "datatype": "UINT8", "shape": [1, len(data)], "parameters": size}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    (tmp_path / "body").write_bytes(header + data)
    length = f"Inference-Header-Content-Length: {len(header)}"
    given = ["--data-binary", f"@{tmp_path / 'body'}", "-H", length, *options]
    status, answer = curl(server, "/v2/models/identity/infer", *given)
    assert status == 200, answer[:500]
    assert answer[-len(data) :] == data


def test_health_and_metadata(server: ServerProcess) -> None:
    assert curl(server, "/v2/health/live") == (200, b'{"live":true}')
    assert curl(server, "/v2/health/ready") == (200, b'{"ready":true}')
    assert curl(server, "/v2/models/add_sub/ready") == (200, b"")
    status, body = curl(server, "/v2")
    assert status == 200
    assert {"name", "version", "extensions"} <= json.loads(body).keys()
    assert curl(server, "/v2/models/nope")[0] == 404


def test_many_requests_on_one_connection(server: ServerProcess) -> None:
    address = f"http://{server.http}/v2/models/add_sub/infer"
    counted = ["curl", "-s", "-w", "%{stderr}%{num_connects}", "-d", json.dumps(VECTORS), *[address] * 5]
    done = subprocess.run(counted, capture_output=True, check=True)
    assert done.stderr == b"10000"
