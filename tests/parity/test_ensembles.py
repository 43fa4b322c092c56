"""Ensembles and the response cache: the real Triton and pyserver asked the same questions, in the same order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.parity.comparing import Difference, compare
from tests.parity.differences import says_more
from tests.parity.exchanges import Exchange, call, http, infer, message
from tests.support.clients import tensor
from tests.support.repositories import write_add, write_constant, write_ensemble
from tools.process import ServerProcess

pytestmark = [pytest.mark.parity, pytest.mark.timeout(300)]

OPTIONS = ("--cache-config=local,size=1048576", "--model-control-mode=explicit", "--load-model=*")


def write_models(repository: Path) -> None:
    write_add(repository, "one", add=1)
    write_add(repository, "two", inputs="A B", add=2)
    write_add(repository, "rows", "max_batch_size: 4 dynamic_batching { }", add=5)
    write_add(repository, "kept", "response_cache { enable: true }", add=7)
    write_constant(repository, "alone")
    sides = ["one X=t -> Y=l", "rows X=t -> Y=r"]
    write_ensemble(repository, "diamond", ["two A=l B=r -> Y=OUT", *sides, "one X=IN -> Y=t"])
    write_ensemble(repository, "nested", ["diamond IN=IN -> OUT=mid", "one X=mid -> Y=OUT"])
    target = write_ensemble(repository, "remembered", ["one X=IN -> Y=OUT"])
    text = (target / "config.pbtxt").read_text()
    (target / "config.pbtxt").write_text(f"{text}response_cache {{ enable: true }}\n")


def ask_for(name: str, model: str, data: list[float], **more: Any) -> Exchange:
    inputs = [tensor("X" if model in {"one", "kept"} else "IN", "FP32", [len(data)], data)]
    return infer(name, model, {"id": "q", "inputs": inputs, **more})


DATA = np.array([4, 5], np.float32)
EXCHANGES = [
    ask_for("diamond", "diamond", [1, 2]),
    ask_for("diamond, its output", "diamond", [1, 2], outputs=[{"name": "OUT", "parameters": {"binary_data": True}}]),
    ask_for("nested", "nested", [1]),
    *(ask_for(f"step says {-1 - number}", "diamond", [number]) for number in range(-8, 0)),
    ask_for("unknown output", "diamond", [1], outputs=[{"name": "NOPE"}]),
    infer("no input", "diamond", {"inputs": []}),
    infer("wrong type", "diamond", {"inputs": [tensor("IN", "FP64", [1], [1])]}),
    call("infer", "ModelInfer", message("diamond", ("IN", "FP32", DATA, [2]), id="7")),
    call("step says", "ModelInfer", message("diamond", ("IN", "FP32", -DATA, [2]))),
    http("metadata of diamond", "/v2/models/diamond", method="GET"),
    http("config of diamond", "/v2/models/diamond/config", method="GET"),
    http("config of remembered", "/v2/models/remembered/config", method="GET"),
    http("ready", "/v2/models/diamond/ready", method="GET"),
    call("metadata of diamond", "ModelMetadata", pb.ModelMetadataRequest(name="diamond")),
    *(ask_for(f"kept {number}", "kept", [1, 2], id=str(number)) for number in range(3)),
    ask_for("kept, another", "kept", [3]),
    *(ask_for(f"remembered {number}", "remembered", [1, 2], id=str(number)) for number in range(3)),
    *(http(f"statistics of {name}", f"/v2/models/{name}/stats", method="GET")
      for name in ("diamond", "kept", "remembered", "one", "two")),
    call("statistics of remembered", "ModelStatistics", pb.ModelStatisticsRequest(name="remembered")),
    http("a step is unloaded", "/v2/repository/models/two/unload"),
    ask_for("diamond without it", "diamond", [1]),
    http("ready without it", "/v2/models/diamond/ready", method="GET"),
    http("it comes back", "/v2/repository/models/two/load"),
    ask_for("diamond with it", "diamond", [1]),
    ask_for("nested with it", "nested", [1]),
]  # fmt: skip


def says_step(ours: Any, theirs: Any) -> bool:
    """Ours is Triton's with the step's name in it, or has all of Triton's words."""
    return says_more(ours, theirs) or (isinstance(ours, str) and re.sub(r"step '\w+': ", "", ours) == theirs)


DIFFERENCES = [
    Difference("http *", "json.error", "an error keeps Triton's words and names the step", says_step),
    Difference("grpc *", "details", "an error keeps Triton's words and names the step", says_step),
    Difference("http *", "json.parameters.*", "Triton tells every client of an ensemble that it is in no sequence"),
    Difference("grpc *", "message.parameters.*", "Triton tells every client of an ensemble that it is in no sequence"),
    Difference("http config of *", "*.max_inflight_requests", "a field of newer Tritons"),
    Difference("http *", "content-type", "an empty body has no type", lambda ours, theirs: ours is None),
    Difference(
        "* statistics of diamond", "*.fail.count", "Triton counts an ensemble's failure twice, and for its step"
    ),
    Difference("* statistics of one", "*", "Triton counts an error of a step's model as its success"),
    Difference("grpc statistics of *", "*.compute_*put.ns", "an ensemble's time is its steps': see their statistics"),
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parity")
    write_models(folder)
    return folder


@pytest.fixture(scope="module")
def options() -> tuple[str, ...]:
    return OPTIONS


@pytest.mark.parametrize("exchange", [pytest.param(each, id=each.name) for each in EXCHANGES])
def test_ensembles_answer_equally(
    triton: ServerProcess, ours: ServerProcess, used: set[Difference], exchange: Exchange
) -> None:
    compare(exchange.name, exchange.ask(ours), exchange.ask(triton), DIFFERENCES, used)
