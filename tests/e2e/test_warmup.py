"""Warm-up over real servers: what it runs, that it comes before READY, that its failure fails the load."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator

import pytest

from tests.conftest import Serve
from tests.support.batching import statistics, write_rows
from tests.support.clients import ask, index
from tests.support.repositories import write_model
from tools.process import ServerProcess

SAMPLE = """
model_warmup { name: "%s" batch_size: %d count: %d
  inputs { key: "X" value { data_type: TYPE_INT32 dims: [ 1 ] %s } } }
"""
CONTROL = """
sequence_batching { control_input {
  name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } }
"""
ENSEMBLE = """
platform: "ensemble" max_batch_size: 8
input { name: "X" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "Y" data_type: TYPE_INT32 dims: [ -1 ] }
ensemble_scheduling { step { model_name: "%s" model_version: -1
  input_map { key: "X" value: "X" } output_map { key: "Y" value: "Y" } } }
"""
GOOD = {
    "twice": SAMPLE % ("zeros", 3, 2, "zero_data: true")
    + SAMPLE % ("file", 1, 0, 'input_data_file: "five"')
    + "instance_group { count: 2 kind: KIND_CPU }",
    "random": SAMPLE % ("random", 1, 3, "random_data: true"),
    "sequence": CONTROL + SAMPLE % ("zeros", 1, 1, "zero_data: true"),
}
BAD = {
    "raising": (SAMPLE % ("bad", 1, 1, 'input_data_file: "thirteen"'), "ValueError: thirteen"),
    "unknown": (SAMPLE.replace('"X"', '"Z"') % ("other", 1, 1, "zero_data: true"), "'Z'"),
    "empty": ('model_warmup { name: "none" batch_size: 1 }', "expected 1 inputs but got 0"),
    "nowhere": (SAMPLE % ("gone", 1, 1, 'input_data_file: "gone"'), "gone"),
}


ENSEMBLES = {
    "warm": ENSEMBLE % "step" + GOOD["twice"].partition("instance_group")[0] + GOOD["random"],
    "cold": ENSEMBLE % "other" + BAD["raising"][0],
    "odd": ENSEMBLE % "other" + BAD["unknown"][0],
}


@pytest.fixture(scope="module")
def server(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("warmup")
    steps = {"step": "", "other": ""}
    for name, config in [*GOOD.items(), *((name, sample) for name, (sample, _) in BAD.items()), *steps.items()]:
        write_rows(repository, name, config)
    for name, config in ENSEMBLES.items():
        write_model(repository, name, "", config)
    for name in (*GOOD, *BAD, *ENSEMBLES):
        folder = repository / name / "warmup"
        folder.mkdir()
        (folder / "five").write_bytes(struct.pack("<i", 5))
        (folder / "thirteen").write_bytes(struct.pack("<i", 13))
    running = make_server(repository, options=("--exit-on-error=false", "--strict-readiness=false"))
    running.start(ready=False)
    for name in (*GOOD, *BAD, *ENSEMBLES):
        running.wait_until(functools.partial(settled, running, name), 30, f"to load {name}")
    yield running
    running.stop()


def settled(server: ServerProcess, name: str) -> bool:
    return index(server).get((name, "1"), {}).get("state") in {"READY", "UNAVAILABLE"}


def executed(server: ServerProcess, name: str, count: int) -> list[str]:
    """What a model has executed, as it says `count` times."""
    lines = server.wait_lines(count, f"{name}_", "executes [")
    return [line.partition("executes ")[2] for line in lines]


@pytest.mark.ours
def test_each_instance_runs_each_sample_before_it_is_ready(server: ServerProcess) -> None:
    assert sorted(executed(server, "twice", 6)) == sorted(["[[0], [0], [0]]", "[[0], [0], [0]]", "[[5]]"] * 2)
    counted = statistics(server, "twice")
    assert (counted["inference_count"], counted["execution_count"]) == (14, 6)
    sizes = [(entry["batch_size"], entry["compute_infer"]["count"]) for entry in counted["batch_stats"]]
    assert sizes == [(1, 2), (3, 4)]


@pytest.mark.ours
def test_random_data_and_sequences(server: ServerProcess) -> None:
    assert len(executed(server, "random", 3)) == 3
    assert executed(server, "sequence", 1) == ["[[0]]"]


@pytest.mark.parametrize("name", BAD)
def test_a_warm_up_that_fails_fails_the_load(server: ServerProcess, name: str) -> None:
    entry = index(server)[name, "1"]
    assert entry["state"] == "UNAVAILABLE"
    assert BAD[name][1] in entry["reason"]


@pytest.mark.ours
def test_an_ensemble_runs_each_sample_before_it_is_ready(server: ServerProcess) -> None:
    """Triton refuses them. A sample is one request, of as many rows as its batch size."""
    assert executed(server, "step", 4)[:3] == ["[[0, 0, 0]]", "[[0, 0, 0]]", "[[5]]"]
    counted = statistics(server, "warm")
    assert (counted["inference_count"], counted["execution_count"]) == (10, 6)
    assert index(server)["warm", "1"]["state"] == "READY"


@pytest.mark.ours
@pytest.mark.parametrize(
    ("name", "says"),
    [("cold", "failed to run warmup sample 'bad': in ensemble 'cold', step 'other': "), ("odd", "'Z'")],
)
def test_a_warm_up_of_an_ensemble_that_fails_fails_its_load(server: ServerProcess, name: str, says: str) -> None:
    entry = index(server)[name, "1"]
    assert entry["state"] == "UNAVAILABLE"
    assert says in entry["reason"]
    answer = ask(server, "POST", f"/v2/models/{name}/infer", b"{}")
    assert answer.status in {400, 404, 503}, answer
    assert index(server)["other", "1"]["state"] == "READY"
