"""What a model is given, under the real Triton and under pyserver: each probe says the same, or why it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.parity.comparing import ABSENT, Difference, compare
from tests.parity.differences import says_more
from tests.parity.probing import PROBES, write_models
from tests.support.clients import infer_json, tensor
from tools.process import ServerProcess

pytestmark = [pytest.mark.parity, pytest.mark.timeout(300)]

OPTIONS = ("--model-control-mode=explicit", "--load-model=*")


def ours_alone(ours: Any, theirs: Any) -> bool:
    """Triton has nothing there."""
    return bool(theirs == ABSENT)


def means_the_same(ours: Any, theirs: Any) -> bool:
    """The words that help are the same."""
    helps = ("models using the decoupled transaction policy.", "Please use 'decoupled=True'")
    return all(words in ours and words in theirs for words in helps)


DIFFERENCES = [
    Difference("*", "*", "an error keeps Triton's words and adds what was got and expected", says_more),
    Difference("tensor_wrong_dtype", ".2.*", "arrays of text (U) are BYTES tensors"),
    Difference("dlpack_strided", ".0.*", "a numpy array is taken as Tensor() takes it: copied if it is strided"),
    Difference("bls_decoupled_without_the_word", ".1", "a whole sentence", means_the_same),
    Difference(
        "load_what_is_given", ".0.1.0", "Triton goes on with the instance that runs, though its files are others"
    ),
    Difference("everything_public", "*", "what our functions take and give has public names", ours_alone),
]
"""Of a probe (pattern) a part of what it says (pattern over paths as .0.1) may differ if `holds`. What is not in this
table has to be equal.
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    write_models(folder)
    return folder


@pytest.fixture(scope="module")
def options() -> tuple[str, ...]:
    return OPTIONS


def said(server: ServerProcess, probe: str, model: str = "probe") -> Any:
    """What came of a probe."""
    inputs = [
        tensor("PROBE", "BYTES", [1], [probe]),
        tensor("FP32", "FP32", [2, 2], [1, 2, 3, 4]),
        tensor("TEXT", "BYTES", [3], ["one", "", "dr\u00fcben"]),
    ]
    parameters = {
        "custom": 7,
        "text": "x",
        "sure": True,
        "sequence_id": 5,
        "sequence_start": True,
        "timeout": 50_000_000,
    }
    answer = infer_json(server, model, {"id": "q", "inputs": inputs, "parameters": parameters})
    assert answer.status == 200, answer
    return json.loads(answer.json["outputs"][0]["data"][0])


@pytest.mark.parametrize("probe", PROBES)
def test_a_model_finds_the_same(triton: ServerProcess, ours: ServerProcess, used: set[Difference], probe: str) -> None:
    compare(probe, said(ours, probe), said(triton, probe), DIFFERENCES, used)


def test_an_asynchronous_execute(triton: ServerProcess, ours: ServerProcess) -> None:
    assert said(ours, "", "awaits") == said(triton, "", "awaits") == [[5], [5], [5]]


def test_every_intended_difference_is_one(used: set[Difference], request: pytest.FixtureRequest) -> None:
    """A row that no probe needed is stale."""
    asked = [
        item for item in request.session.items if getattr(item, "originalname", "") == "test_a_model_finds_the_same"
    ]
    if len(asked) < len(PROBES):
        pytest.skip("not all probes were made")
    assert [row for row in DIFFERENCES if row not in used] == []
