from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.proto.model_config import ModelConfig
from pyserver.repository import complete, config, document

X = {"name": "X", "data_type": "TYPE_FP32", "dims": [4]}
Y = {"name": "Y", "data_type": "TYPE_INT64", "dims": [-1]}
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def completed(make_model: Any) -> Callable[[str, Edit], complete.Completion]:
    """Complete a configuration: `completed(config.pbtxt, edit)`, where `edit` changes its document."""

    def run(text: str, edit: Edit) -> complete.Completion:
        before = config.prepare(make_model("m", text))
        kept = ModelConfig()
        kept.CopyFrom(before)
        values = json.loads(document.to_json(before))
        edit(values)
        try:
            return complete.merge(before, json.dumps(values))
        finally:
            assert before == kept

    return run


def test_what_was_open_is_completed(completed: Any) -> None:
    def edit(values: dict[str, Any]) -> None:
        values["input"] = [X]
        values["output"] = [Y]
        values["max_batch_size"] = 8
        values["dynamic_batching"] = {}
        values["model_transaction_policy"] = {"decoupled": True}

    made, ignored = completed("", edit)
    assert (made.max_batch_size, made.input[0].name, list(made.output[0].dims)) == (8, "X", [-1])
    assert list(made.dynamic_batching.preferred_batch_size) == [8]
    assert made.model_transaction_policy.decoupled
    assert ignored == []


def test_an_entry_without_type_and_dims_is_filled(completed: Any) -> None:
    made, _ = completed('input {name: "X" optional: true}', lambda values: values["input"][0].update(X))
    assert (made.input[0].data_type, list(made.input[0].dims), made.input[0].optional) == (11, [4], True)


def test_a_greater_batch_size_moves_the_preferred_one(completed: Any) -> None:
    made, _ = completed("max_batch_size: 2 dynamic_batching {}", lambda values: values.update(max_batch_size=4))
    assert list(made.dynamic_batching.preferred_batch_size) == [4]


def test_other_fields_are_not_the_models_to_change(completed: Any) -> None:
    def edit(values: dict[str, Any]) -> None:
        values["instance_group"][0]["count"] = 5
        values["parameters"]["x"] = {"string_value": "y"}
        del values["optimization"]

    made, ignored = completed("", edit)
    assert made.instance_group[0].count == 1
    assert sorted(ignored) == ["instance_group", "parameters"]


FULL = (
    'max_batch_size: 2 input {name: "X" data_type: TYPE_FP32 dims: [4]} output {name: "Y" data_type: TYPE_INT8 dims: 1}'
)


@pytest.mark.parametrize(
    ("text", "edit", "part"),
    [
        (
            FULL,
            lambda v: v.update(max_batch_size=1),
            "configuration specified max_batch_size 2, but the model supports",
        ),
        (FULL, lambda v: v["input"].clear(), "input 'X' of the configuration is gone"),
        (FULL, lambda v: v.update(output=[]), "output 'Y' of the configuration is gone"),
        (
            FULL,
            lambda v: v["input"][0].update(data_type="TYPE_INT8"),
            "configuration expects datatype TYPE_FP32 for input 'X', model provides TYPE_INT8",
        ),
        (
            FULL,
            lambda v: v["output"][0].update(dims=[2]),
            "the model expects dims [2] but the model configuration specifies dims [1]",
        ),
        ("", lambda v: v.update(name="other"), "'name' is 'other'"),
        (
            "sequence_batching {}",
            lambda v: (v.pop("sequence_batching"), v.update(dynamic_batching={})),
            "wants dynamic_",
        ),
        (
            "model_transaction_policy {decoupled: false}",
            lambda v: v.update(model_transaction_policy={"decoupled": True}),
            "the configuration specifies decoupled false, the model provides true",
        ),
        ("", lambda v: v.update(input=[X, X]), "model input 'X' is there 2 times"),
        ("", lambda v: v.update(input=[{"name": "X"}]), "model input 'X' must specify 'data_type'"),
        (
            "response_cache {enable: true}",
            lambda v: v.update(model_transaction_policy={"decoupled": True}),
            "with 'decoupled' transaction policy",
        ),
        (
            "",
            lambda v: v.update(input=[{**X, "shape": [1]}]),
            "auto_complete_config function in model 'm' must return a valid pb.ModelConfig object: model configuration"
            " has an unknown field 'input[0].shape'",
        ),
    ],
)
def test_refused(completed: Any, text: str, edit: Edit, part: str) -> None:
    with pytest.raises(ServerError) as caught:
        completed(text, edit)
    assert caught.value.code is ErrorCode.INVALID_ARG
    assert part in caught.value.message
    assert "'m'" in caught.value.message
