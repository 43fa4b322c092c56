from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyserver.cli.infer import lines
from pyserver.cli.infer.options import Options
from pyserver.cli.infer.run import PAUSE, Run
from pyserver.errors import invalid, unavailable

Infer = Callable[[dict[str, Any]], dict[str, Any]]


def options(**more: Any) -> Options:
    given: dict[str, Any] = {
        "url": "", "model_name": "m", "input_data_path": Path("i"), "output_data_path": Path("o"), "workers": 3,
        "retries": 2, "batch_size": 1, "binary_data": False, "verbose": 0, "transport": "rest", "headers": (),
        "timeout": 1.0, "batch_interval": 0.0, "batch_jitter": 0.0, "use_ssl": False, "insecure": False, **more,
    }  # fmt: skip
    return Options(**given)


class Fake:
    """A transport that answers by a function."""

    def __init__(self, infer: Infer) -> None:
        self.infer = infer
        self.closed = False

    def close(self) -> None:
        self.closed = True


def echo(document: dict[str, Any]) -> dict[str, Any]:
    return {"model_name": "m", "id": document["id"], "parameters": {"headers": {}}, "outputs": document["inputs"]}


def request(*rows: float, **more: Any) -> str:
    tensor = {"name": "x", "shape": [len(rows)], "datatype": "FP32", "data": list(rows), **more.pop("tensor", {})}
    return json.dumps({"inputs": [tensor], **more})


def run(given: list[str], infer: Infer, **more: Any) -> tuple[list[Any], Run, list[float]]:
    """The documents that come out, the run, and its pauses."""
    pauses: list[float] = []
    running = Run(options(**more), lambda _: Fake(infer), pauses.append)
    texts = lines.ordered(running.answers(lines.read(given)))
    return [json.loads(text) for text in texts], running, pauses


def data_of(document: Any) -> Any:
    return document["outputs"][0]["data"]


def test_answers_come_in_order_with_ids_and_numbers() -> None:
    gate = threading.Event()

    def slow_at_first(document: dict[str, Any]) -> dict[str, Any]:
        if document["inputs"][0]["data"] == [0.0]:
            assert gate.wait(10)
        elif document["inputs"][0]["data"] == [19.0]:
            gate.set()
        return echo(document)

    given = [request(float(number), id=f"id-{number}") for number in range(20)]
    # Six groups at most are on their way: the first waits until the last of them is asked.
    found, running, _ = run(given, slow_at_first, workers=10)
    assert [data_of(document) for document in found] == [[float(number)] for number in range(20)]
    assert [document["id"] for document in found] == [f"id-{number}" for number in range(20)]
    assert found[7]["parameters"] == {"batch_index": 7, "inference_id": "id-7"}
    assert running.failures == 0


def test_an_id_is_made_where_there_is_none_and_empty_lines_count() -> None:
    found, _, _ = run([request(1.0), "\n", request(2.0)], echo)
    assert [document["parameters"]["batch_index"] for document in found] == [0, 2]
    assert all(len(document["id"]) == 36 for document in found)


def test_lines_go_together_and_come_back_apart() -> None:
    asked: list[dict[str, Any]] = []

    def remember(document: dict[str, Any]) -> dict[str, Any]:
        asked.append(document)
        return echo(document)

    given = [request(1.0, id="a"), request(2.0, 3.0, id="b"), request(4.0, id="c")]
    found, _, _ = run(given, remember, batch_size=3)
    assert [data_of(document) for document in found] == [[1.0], [2.0, 3.0], [4.0]]
    assert [document["outputs"][0]["shape"] for document in found] == [[1], [2], [1]]
    assert [document["id"] for document in found] == ["a", "b", "c"]
    (together,) = asked
    assert together["inputs"][0]["shape"] == [4]
    assert {document["parameters"]["inference_id"] for document in found} == {together["id"]}


@pytest.mark.parametrize(
    "other",
    [
        request(2.0, parameters={"k": 1}),
        request(2.0, tensor={"datatype": "FP64"}),
        request(2.0, tensor={"name": "y"}),
        request(2.0, tensor={"shape": [1, 1]}),
        request(2.0, outputs=[{"name": "x"}]),
        '{"inputs": []}',
    ],
)
def test_lines_that_are_not_alike_go_alone(other: str) -> None:
    asked: list[Any] = []
    run([request(1.0), other], lambda document: asked.append(document) or echo(document), batch_size=2)
    assert len(asked) == 2


def test_one_line_that_is_refused_leaves_the_others_of_its_batch_alone() -> None:
    def refuse(document: dict[str, Any]) -> dict[str, Any]:
        if 2.0 in document["inputs"][0]["data"]:
            raise invalid("2 is no good")
        return echo(document)

    found, running, _ = run([request(1.0), request(2.0), request(3.0)], refuse, batch_size=3)
    assert found[1] == {"parameters": {"batch_index": 1}, "error": {"status": "inference error", "msg": "2 is no good"}}
    assert [data_of(found[number]) for number in (0, 2)] == [[1.0], [3.0]]
    assert running.failures == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "column 2: Expecting property name enclosed in double quotes"),
        ("[]", "expected an object, got list"),
        ("{}", "'inputs': expected a list"),
        ('{"inputs": [], "id": 5}', "'id': expected a text, got 5"),
        ('{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}', "'inputs.0.data' is missing"),
        ('{"inputs": [3]}', "'inputs.0.name' is missing"),
        (request(1.0, tensor={"shape": [-1]}), "'inputs.0.shape': expected a list of sizes"),
    ],
)
def test_lines_that_are_no_requests(text: str, said: str) -> None:
    found, running, _ = run([request(1.0), text, request(2.0)], echo, batch_size=2)
    assert found[1]["error"]["status"] == "preprocessing error"
    assert said in found[1]["error"]["msg"]
    assert [data_of(found[number]) for number in (0, 2)] == [[1.0], [2.0]]
    assert running.failures == 1


def test_what_may_help_is_tried_again() -> None:
    tries: list[None] = []

    def third_time(document: dict[str, Any]) -> dict[str, Any]:
        tries.append(None)
        if len(tries) < 3:
            raise unavailable("not now")
        return echo(document)

    found, _, pauses = run([request(1.0)], third_time)
    assert data_of(found[0]) == [1.0]
    assert pauses == [PAUSE, PAUSE]

    def never(document: dict[str, Any]) -> dict[str, Any]:
        raise unavailable("not now")

    found, running, pauses = run([request(1.0)], never)
    assert found[0]["error"]["msg"] == "not now"
    assert (len(pauses), running.failures) == (2, 1)


def test_a_refusal_is_not_tried_again() -> None:
    def refuse(document: dict[str, Any]) -> dict[str, Any]:
        raise invalid("no")

    _, _, pauses = run([request(1.0)], refuse)
    assert pauses == []


def test_workers_pause_between_requests() -> None:
    _, _, pauses = run([request(1.0)] * 3, echo, batch_interval=0.5, batch_jitter=0.25)
    assert len(pauses) == 3
    assert all(0.5 <= pause <= 0.75 for pause in pauses)


def test_a_worker_that_cannot_connect_ends_the_run() -> None:
    def fail(_: Options) -> Fake:
        raise unavailable("nobody there")

    running = Run(options(), fail)
    with pytest.raises(Exception, match="nobody there"):
        list(running.answers(lines.read([request(1.0)] * 50)))


def test_what_does_not_split_is_asked_alone() -> None:
    def one_row(document: dict[str, Any]) -> dict[str, Any]:
        return {"model_name": "m", "outputs": [{"name": "y", "shape": [1], "datatype": "FP32", "data": [7.0]}]}

    found, _, _ = run([request(1.0), request(2.0)], one_row, batch_size=2)
    assert [data_of(document) for document in found] == [[7.0], [7.0]]
