"""What people point at a server: a browser's fetch (node's), and perf_analyzer where there is one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.process import ServerProcess

FETCH = """
const base = process.argv[1];
const inputs = ["INPUT0", "INPUT1"].map(name => ({name, datatype: "FP32", shape: [4], data: [1, 2, 3, 4]}));
const ask = async (path, options) => {
  const answer = await fetch(base + path, options);
  return [answer.status, answer.headers.get("content-type"), await answer.text()];
};
const post = (path, body, headers = {}) => ask(path, {method: "POST", body, headers});
const streamed = new ReadableStream({
  start(controller) {
    const text = JSON.stringify({inputs});
    for (let at = 0; at < text.length; at += 50) controller.enqueue(new TextEncoder().encode(text.slice(at, at + 50)));
    controller.close();
  }
});
const head = new TextEncoder().encode(JSON.stringify({
  inputs: inputs.map(({name}) => ({name, datatype: "FP32", shape: [4], parameters: {binary_data_size: 16}})),
  parameters: {binary_data_output: true},
}));
const binary = new Uint8Array([...head, ...new Uint8Array(new Float32Array([1, 2, 3, 4, 1, 2, 3, 4]).buffer)]);
const answers = [
  await ask("/v2/health/ready"),
  await ask("/v2"),
  await post("/v2/models/add_sub/infer", JSON.stringify({inputs}), {"content-type": "application/json"}),
  await ask("/v2/models/add_sub/infer", {method: "POST", body: streamed, duplex: "half"}),
  await post("/v2/models/add_sub/infer", "{"),
  await ask("/v2/models/nobody"),
];
const raw = await fetch(base + "/v2/models/add_sub/infer",
  {method: "POST", body: binary, headers: {"Inference-Header-Content-Length": String(head.length)}});
const size = Number(raw.headers.get("inference-header-content-length"));
const sums = new Float32Array((await raw.arrayBuffer()).slice(size, size + 16));
const body = JSON.stringify({inputs});
const many = await Promise.all(Array.from({length: 50}, () => post("/v2/models/add_sub/infer", body)));
console.log(JSON.stringify({answers, sums: [...sums], many: many.map(([status]) => status)}));
"""
WINDOW = ["--measurement-mode", "count_windows", "--measurement-request-count", "100", "-s", "10000", "-r", "10"]
"""As stable as on a busy machine: it is not the figures that are tested."""
PERF_ANALYZER = "PERF_ANALYZER"
"""Names the program, which no wheel of today's tritonclient carries."""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_browsers_fetch(server: ServerProcess, tmp_path: Path) -> None:
    script = tmp_path / "fetch.mjs"
    script.write_text(FETCH.replace("process.argv[1]", "process.argv[2]"))
    done = subprocess.run(["node", script, f"http://{server.http}"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [status for status, _, _ in said["answers"]] == [200, 200, 200, 200, 400, 404]
    assert [kind for _, kind, _ in said["answers"]] == ["application/json"] * 6
    for _, _, body in said["answers"][2:4]:
        assert json.loads(body)["outputs"][0]["data"] == [2, 4, 6, 8]
    assert said["sums"] == [2, 4, 6, 8]
    assert said["many"] == [200] * 50


@pytest.mark.heavy
@pytest.mark.skipif(PERF_ANALYZER not in os.environ, reason=f"{PERF_ANALYZER} names no perf_analyzer")
@pytest.mark.parametrize(
    "options",
    [
        ["-i", "http"],
        ["-i", "grpc"],
        ["-i", "grpc", "--async", "--concurrency-range", "8"],
        ["-i", "grpc", "--streaming", "--async"],
        ["-i", "http", "--request-rate-range", "200"],
    ],
    ids=" ".join,
)
def test_perf_analyzer(server: ServerProcess, options: list[str]) -> None:
    address = server.grpc if "grpc" in options else server.http
    command = [os.environ[PERF_ANALYZER], "-m", "add_sub", "-u", address, *WINDOW, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Throughput: " in done.stdout
    assert "Inference count: " in done.stdout  # it has read the server's own statistics
