"""Ensembles that add numbers, and what one asks of them and of the server that runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.clients import Answer, ask, index, infer_json, tensor
from tests.support.repositories import CONSTANT_CONFIG, write_add, write_constant, write_ensemble
from tools.process import ServerProcess

EXPLICIT = ("--model-control-mode", "explicit")
DIAMOND = [
    "plus2 A=left B=right -> Y=OUT",
    "plus10 X=top -> Y=left",
    "plus100 X=top -> Y=right",
    "plus1 X=IN -> Y=top",
]
"""Listed from its end to its beginning."""


def write_models(repository: Path) -> None:
    """Models that add, and ensembles of them."""
    for number in (1, 10, 100):
        write_add(repository, f"plus{number}", add=number)
    write_add(repository, "plus2", inputs="A B", add=2)
    write_add(repository, "rows", "max_batch_size: 4 dynamic_batching { }", add=5)
    write_add(repository, "either", inputs="A B?", add=0)
    write_add(repository, "sleeps", sleep=0.3, add=0)
    write_add(repository, "sleeps_too", sleep=0.3, add=0)
    for version in (1, 2):
        write_constant(repository, "numbered", version, version)
    (repository / "numbered/config.pbtxt").write_text(f"{CONSTANT_CONFIG}version_policy {{ all {{ }} }}\n")
    write_ensemble(repository, "diamond", DIAMOND)
    write_ensemble(
        repository, "fan", [f"plus{number} X=IN -> Y=O{number}" for number in (1, 10, 100)], outputs="O1 O10 O100"
    )
    write_ensemble(repository, "nested", ["diamond IN=IN -> OUT=mid", "plus1 X=mid -> Y=OUT"])
    write_ensemble(repository, "mixed", ["rows X=IN -> Y=mid", "plus1 X=mid -> Y=OUT"])
    write_ensemble(repository, "optional", ["either A=IN B=MAYBE -> Y=OUT"], inputs="IN MAYBE?")
    write_ensemble(repository, "side_by_side", ["sleeps X=IN -> Y=A", "sleeps_too X=IN -> Y=B"], outputs="A B")
    pinned = write_ensemble(repository, "pinned", ["numbered:1 ASKED=IN -> VALUE=A", "numbered ASKED=IN -> VALUE=B"],
                            outputs="A B")  # fmt: skip
    text = (pinned / "config.pbtxt").read_text()
    text = text.replace('"IN" data_type: TYPE_FP32 dims: [ -1 ]', '"IN" data_type: TYPE_BOOL dims: [ 1 ]')
    (pinned / "config.pbtxt").write_text(text.replace("TYPE_FP32 dims: [ -1 ]", "TYPE_INT32 dims: [ 1 ]"))


def run(server: ServerProcess, model: str, data: list[float], outputs: str = "", **more: Any) -> Answer:
    """Ask an ensemble with one input."""
    request: dict[str, Any] = {"inputs": [tensor("IN", "FP32", [len(data)], data)], **more}
    if outputs:
        request["outputs"] = [{"name": name} for name in outputs.split()]
    return infer_json(server, model, request)


def values(answer: Answer) -> dict[str, list[float]]:
    assert answer.status == 200, answer
    return {output["name"]: output["data"] for output in answer.json["outputs"]}


def counts(server: ServerProcess, model: str) -> tuple[int, int]:
    """Requests that a model has answered, and executions."""
    (entry,) = ask(server, "GET", f"/v2/models/{model}/stats").json["model_stats"]
    return entry["inference_stats"]["success"]["count"], entry["execution_count"]


def state(server: ServerProcess, model: str) -> tuple[str, str]:
    entry = index(server).get((model, "1"), {})
    return entry.get("state", ""), entry.get("reason", "")


def control(server: ServerProcess, model: str, verb: str, **parameters: Any) -> Answer:
    body = json.dumps({"parameters": parameters}).encode() if parameters else b""
    return ask(server, "POST", f"/v2/repository/models/{model}/{verb}", body)
