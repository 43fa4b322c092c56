"""Dynamic batches over real servers: who shares one, what becomes of it, how full queues are told."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.batching import ask_rows, outputs, statistics, together, write_rows
from tests.support.clients import infer_json, tensor
from tools.process import ServerProcess

PATIENT = "dynamic_batching { max_queue_delay_microseconds: 300000 preferred_batch_size: [ 4 ] }"

LARGE = "dynamic_batching { max_queue_delay_microseconds: 2000000 preferred_batch_size: [ 41 ] }"


@pytest.fixture(scope="module")
def server(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("batching")
    variable = 'input { name: "X" data_type: TYPE_INT32 dims: [ -1 ] }'
    write_rows(repository, "patient", PATIENT)
    write_rows(repository, "large", LARGE, batch=64)
    write_rows(repository, "stubborn", PATIENT + 'parameters { key: "RETRY_FAILED_BATCH" value { string_value: "0" } }')
    write_rows(repository, "shapes", PATIENT, inputs=variable)
    write_rows(repository, "ragged", PATIENT, inputs=variable.replace("dims", "allow_ragged_batch: true dims"))
    optional = 'input { name: "X" data_type: TYPE_INT32 dims: [ 1 ] }'
    optional += 'input { name: "MAYBE" data_type: TYPE_INT32 dims: [ 1 ] optional: true }'
    write_rows(repository, "optional", PATIENT, inputs=optional)
    write_rows(repository, "busy", "dynamic_batching {}", seconds=0.3, batch=2)
    write_rows(repository, "bounded", BOUNDED, seconds=0.6, batch=1)
    adaptive = 'parameters { key: "ADAPTIVE_QUEUE_DELAY" value { string_value: "true" } }'
    write_rows(repository, "adaptive", "dynamic_batching {}" + adaptive, seconds=0.02)
    write_rows(repository, "spare", "instance_group [ { kind: KIND_CPU }, { kind: KIND_CPU passive: true } ]")
    with make_server(repository) as running:
        yield running


BOUNDED = "dynamic_batching { default_queue_policy { max_queue_size: 3 } }"


def test_requests_that_come_together_run_together_side_by_side(server: ServerProcess) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = [outputs(future.result()) for future in together(pool, server, "patient", 1, 2, 3, 4)]
    assert [answer["Y"] for answer in answers] == [1, 2, 3, 4]
    assert {answer["TOGETHER"] for answer in answers} == {4}
    addresses = sorted(answer["ADDRESS"] for answer in answers)
    assert [at - addresses[0] for at in addresses] == [0, 4, 8, 12], "rows lie side by side"


@pytest.mark.ours
def test_the_answers_of_a_large_batch_come_in_pieces_each_to_its_own(server: ServerProcess) -> None:
    """41 requests, in more than two messages; that of 13 makes the batch fail, so that they run once more, singly."""
    for values in (range(100, 141), range(10, 51)):
        with ThreadPoolExecutor(41) as pool:
            answers = [future.result() for future in together(pool, server, "large", *values)]
        assert [outputs(answer)["Y"] if answer.status == 200 else 13 for answer in answers] == list(values)
        sizes = {outputs(answer)["TOGETHER"] for answer in answers if answer.status == 200}
        assert sizes == ({1} if 13 in values else {41})


@pytest.mark.ours
def test_one_bad_request_in_a_batch_fails_alone(server: ServerProcess) -> None:
    before = statistics(server, "patient")
    with ThreadPoolExecutor(4) as pool:
        answers = [future.result() for future in together(pool, server, "patient", 1, 13, 3, 4)]
    assert [answer.status for answer in answers] == [200, 500, 200, 200]
    assert "thirteen" in answers[1].error
    after = statistics(server, "patient")
    assert after["execution_count"] - before["execution_count"] == 5
    assert after["inference_stats"]["fail"]["count"] - before["inference_stats"]["fail"]["count"] == 1
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 3


@pytest.mark.ours
def test_a_model_may_want_no_second_try(server: ServerProcess) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = [future.result() for future in together(pool, server, "stubborn", 1, 13, 3, 4)]
    assert [answer.status for answer in answers] == [500] * 4
    assert statistics(server, "stubborn")["execution_count"] == 1


@pytest.mark.parametrize(("model", "size"), [("shapes", 2), ("ragged", 4)])
def test_shapes_are_mixed_only_where_ragged(server: ServerProcess, model: str, size: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = []
        for values in [(1,), (2,), (3, 3), (4, 4)]:
            asked.append(pool.submit(ask_rows, server, model, *values))
            time.sleep(0.02)
        assert {outputs(future.result())["TOGETHER"] for future in asked} == {size}


def test_other_optional_inputs_are_another_batch(server: ServerProcess) -> None:
    x, maybe = tensor("X", "INT32", [1, 1], [1]), tensor("MAYBE", "INT32", [1, 1], [1])
    with ThreadPoolExecutor(4) as pool:
        asked = []
        for inputs in [[x], [x], [maybe, x], [x, maybe]]:
            asked.append(pool.submit(infer_json, server, "optional", {"inputs": inputs}))
            time.sleep(0.02)
        assert {outputs(future.result())["TOGETHER"] for future in asked} == {2}


@pytest.mark.ours
def test_the_next_batch_is_there_before_the_last_one_ends(server: ServerProcess) -> None:
    """Six requests in three batches of two: the second and third begin at once when the one before them ends."""
    began = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        first = together(pool, server, "busy", 1)
        time.sleep(0.1)
        rest = together(pool, server, "busy", 2, 3, 4, 5)
        sizes = [outputs(future.result())["TOGETHER"] for future in [*first, *rest]]
    assert sizes == [1, 2, 2, 2, 2]
    assert time.monotonic() - began < 3 * 0.3 + 0.15


@pytest.mark.ours
def test_a_full_queue_is_exact_and_refuses_at_once(server: ServerProcess) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = []
        for value in (1, 2, 3, 4):
            asked += together(pool, server, "bounded", value)
            time.sleep(0.05)
        assert server.metric("nv_inference_pending_request_count", model="bounded") == 3
        assert server.metric("pyserver_pending_request_bytes", model="bounded") == 12
        refusals = [refusal(server) for _ in range(5)]
        assert min(seconds for _, _, seconds in refusals) < 0.005
        for status, retry_after, _ in refusals:
            assert (status, retry_after) == (503, "1")
        assert [future.result().status for future in asked] == [200] * 4
    assert server.metric("nv_inference_pending_request_count", model="bounded") == 0
    assert server.metric("nv_inference_request_failure", model="bounded", reason="REJECTED") == 5


def refusal(server: ServerProcess) -> tuple[int, str | None, float]:
    """Status, Retry-After and seconds of one more request, on a connection that is open already."""
    connection = http.client.HTTPConnection(server.http, timeout=10)
    connection.connect()
    body = json.dumps({"inputs": [tensor("X", "INT32", [1, 1], [9])]})
    began = time.perf_counter()
    connection.request("POST", "/v2/models/bounded/infer", body)
    answer = connection.getresponse()
    answer.read()
    took = time.perf_counter() - began
    connection.close()
    return answer.status, answer.headers["Retry-After"], took


@pytest.mark.ours
def test_an_adaptive_delay_loses_nothing(server: ServerProcess) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [future.result() for _ in range(8) for future in together(pool, server, "adaptive", *range(1, 9))]
    assert {answer.status for answer in answers} == {200}
    assert statistics(server, "adaptive")["execution_count"] < 64


@pytest.mark.ours
def test_a_passive_instance_is_there_and_never_runs(server: ServerProcess) -> None:
    for value in range(5):
        assert ask_rows(server, "spare", value).status == 200
    lines = server.wait_lines(5, "spare_", "executes [")
    assert len(lines) == 5
    assert all("spare_0_0" in line for line in lines)
    assert len([line for line in server.lines if "spare_" in line and ": process " in line]) == 2


@pytest.mark.ours
def test_models_that_share_a_resource_execute_in_turns(serve: Serve, tmp_path: Path) -> None:
    for name, count in (("one", 1), ("two", 1), ("greedy", 2)):
        resource = f'resources [ {{ name: "R" global: true count: {count} }} ]'
        groups = f"instance_group [ {{ kind: KIND_CPU rate_limiter {{ {resource} }} }} ]"
        write_rows(tmp_path, name, groups, seconds=0.2)
    options = ("--rate-limit=execution_count", "--rate-limit-resource=R:1", "--exit-on-error=false")
    server = serve(tmp_path, ready=False, options=options)
    server.wait_log('Resource count for "R" is limited to 1')
    for name in ("one", "two"):
        server.wait_log(f"successfully loaded '{name}'")
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask_rows, server, name, 1) for name in ("one", "two", "one", "two")]
        assert [future.result().status for future in asked] == [200] * 4
    assert time.monotonic() - began >= 0.8
    names = ["one" if "one_" in line else "two" for line in server.wait_lines(4, "executes [")]
    assert names in (["one", "two", "one", "two"], ["two", "one", "two", "one"])
