"""Adaptive batching of MLServer's models, coroutines that wait beside each other, and metrics of their own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.clients import Answer, ask, infer_json, tensor
from tests.support.runtimes import write_runtime
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

BATCHING = "max_batch_size: 4\ndynamic_batching { max_queue_delay_microseconds: 500000 }"


@pytest.fixture(scope="module")
def served(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("mlserver")
    write_runtime(repository, "batched", "runtimes.Batched", config=BATCHING, max_batch_size=4, max_batch_time=0.5)
    write_runtime(repository, "waits", "runtimes.Waits")
    write_runtime(repository, "leaves", "runtimes.Waits")
    with make_server(repository, options=("--model-control-mode=explicit", "--load-model=*")) as running:
        yield running


def together(server: ServerProcess, requests: list[dict[str, Any]], model: str = "batched") -> list[Answer]:
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(lambda request: infer_json(server, model, request), requests))


def row(value: float, name: str = "x", rows: int = 1, **parameters: Any) -> dict[str, Any]:
    return {"inputs": [{**tensor(name, "FP32", [rows, 2], [value] * 2 * rows), "parameters": parameters}]}


def outputs(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer
    return {output["name"]: output for output in answer.json["outputs"]}


def test_requests_run_together_and_get_their_own(served: ServerProcess) -> None:
    requests = [{"id": f"r{n}", **row(n, p=f"v{n}")} for n in range(4)]
    answers = [outputs(answer) for answer in together(served, requests)]
    assert [found["rows"]["data"] for found in answers] == [[4]] * 4
    assert [found["echo"]["data"] for found in answers] == [[n, n] for n in range(4)]
    assert [found["p"]["data"] for found in answers] == [[f"v{n}"] for n in range(4)]
    assert sorted(found["echo"]["parameters"]["tag"] for found in answers) == ["t0", "t1", "t2", "t3"]
    assert {found["echo"]["parameters"]["content_type"] for found in answers} == {"np"}


def test_each_has_its_id_and_its_rows(served: ServerProcess) -> None:
    answers = together(served, [{"id": f"r{n}", **row(n, rows=n + 1)} for n in range(4)])
    assert [answer.json["id"] for answer in answers] == ["r0", "r1", "r2", "r3"]
    for n, answer in enumerate(answers):
        found = outputs(answer)
        assert found["echo"]["shape"] == [n + 1, 2]
        assert found["echo"]["data"] == [n, n] * (n + 1)
        assert found["rows"]["data"] == [10] * (n + 1)


def test_one_that_fails_does_not_fail_its_neighbours(served: ServerProcess) -> None:
    answers = together(served, [row(1), row(-1), row(2), row(3)])
    assert [answer.status for answer in answers] == [200, 500, 200, 200]
    assert answers[1].error == "builtins.ValueError: a negative one"
    assert outputs(answers[3])["echo"]["data"] == [3, 3]


def test_only_alike_requests_are_put_together(served: ServerProcess) -> None:
    alike = [row(1), row(2)]
    others = [row(3, name="other"), {"inputs": [tensor("x", "FP64", [1, 2], [4, 4])]}]
    found = [outputs(answer) for answer in together(served, [*alike, *others])]
    assert [answer["rows"]["data"] for answer in found] in ([[2], [2], [1], [1]], [[1]] * 4)
    assert [answer["echo"]["data"] for answer in found] == [[n, n] for n in (1, 2, 3, 4)]


def test_what_has_no_rows_runs_alone(served: ServerProcess) -> None:
    wrong = {"inputs": [tensor("x", "FP32", [3, 2], [1.0])]}
    answers = together(served, [wrong, {"inputs": [tensor("x", "FP32", [1, 2], [1, None])]}, row(5)])
    assert [answer.status for answer in answers] == [400, 200, 200]
    assert outputs(answers[2])["echo"]["data"] == [5, 5]


def test_a_models_histogram_is_among_the_metrics(served: ServerProcess) -> None:
    together(served, [row(1)] * 4)
    text = ask_metrics(served)
    labels = 'model_name="batched",model_version=""'
    assert "# HELP rows_seen Rows of a call" in text
    assert "# TYPE rows_seen histogram" in text
    count = re.search(rf"rows_seen_count{{{labels}}} (\S+)", text)
    total = re.search(rf"rows_seen_sum{{{labels}}} (\S+)", text)
    assert count is not None
    assert total is not None
    assert float(total[1]) >= 4
    assert f'rows_seen_bucket{{{labels},le="0.005"}}' in text or f'rows_seen_bucket{{le="0.005",{labels}}}' in text


def ask_metrics(server: ServerProcess) -> str:
    import urllib.request

    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_coroutines_that_wait_run_beside_each_other(served: ServerProcess) -> None:
    began = time.monotonic()
    answers = together(served, [{"inputs": [tensor("s", "FP32", [1], [0.5])]}] * 8, "waits")
    took = time.monotonic() - began
    assert [answer.status for answer in answers] == [200] * 8
    assert took < 8 * 0.5
    assert min(answer.json["outputs"][0]["data"][0] for answer in answers) > 5


def test_what_waits_is_answered_before_its_model_goes(served: ServerProcess) -> None:
    body = json.dumps({"inputs": [tensor("s", "FP32", [1], [0.6])]}).encode()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, served, "POST", "/v2/models/leaves/infer", body)
        time.sleep(0.2)
        assert ask(served, "POST", "/v2/repository/models/leaves/unload").status == 200
        assert answer.result().status == 200
