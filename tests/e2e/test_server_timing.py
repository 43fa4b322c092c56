"""Server-Timing on inferences that ask for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import infer_json, tensor
from tests.support.repositories import MODELS
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

TIMES = re.compile(
    r'queue;dur=([\d.]+), batch;desc="(\d+)", copy;dur=([\d.]+), compute;dur=([\d.]+), total;dur=([\d.]+)'
)
ASKED = {"X-Server-Timing": "1"}


def slow(server: ServerProcess, **headers: str) -> dict[str, str]:
    answer = infer_json(server, "slow", {"inputs": [tensor("SECONDS", "FP32", [1], [0.05])]}, **headers)
    assert answer.status == 200, answer
    return answer.headers


def test_the_times_add_up(server: ServerProcess) -> None:
    for more in ({}, {"Accept-Encoding": "gzip"}):
        found = TIMES.fullmatch(slow(server, **ASKED, **more)["server-timing"])
        assert found is not None
        queue, together, copy, compute, total = map(float, found.groups())
        assert together == 1
        assert 50 <= compute < total
        assert queue + copy + compute <= total + 0.1


def test_a_batch_and_an_error(server: ServerProcess) -> None:
    body = {"inputs": [tensor("INPUT", "FP32", [2, 1], [1, 2])]}
    answer = infer_json(server, "batching", body, **ASKED)
    assert TIMES.fullmatch(answer.headers["server-timing"])
    assert infer_json(server, "batching", {"inputs": []}, **ASKED).status == 400


def test_nobody_gets_it_unasked(server: ServerProcess) -> None:
    assert "server-timing" not in slow(server)
    assert "server-timing" not in slow(server, **{"X-Server-Timing": "0"})


def test_beside_a_trace(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    server = serve(MODELS, options=(f"--trace-config=triton,file={file}", "--trace-config=level=TIMESTAMPS",
                                    "--trace-config=rate=1"))  # fmt: skip
    assert TIMES.fullmatch(slow(server, **ASKED)["server-timing"])
