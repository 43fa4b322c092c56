"""The rules of auto-completion: spec 4.10. Their reference is a table of what each call may meet."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserver.stub.model_config import ModelConfig

WHERE = "in auto-complete-config function for model 'm'"
NAMES = st.sampled_from(["A", "B"])
TYPES = st.sampled_from(["TYPE_FP32", "TYPE_STRING"])
DIMS = st.sampled_from([[], [-1], [2, 2]])
ENTRY = st.fixed_dictionaries({"name": NAMES, "data_type": st.one_of(TYPES, st.just("TYPE_INVALID")), "dims": DIMS})
OFFER = st.fixed_dictionaries({"name": NAMES, "data_type": TYPES, "dims": DIMS})


def config(**fields: Any) -> ModelConfig:
    return ModelConfig({"name": "m", "max_batch_size": 0, "input": [], "output": [], **fields})


def add(model_config: ModelConfig, kind: str, tensor: dict[str, Any]) -> None:
    (model_config.add_input if kind == "input" else model_config.add_output)(tensor)


@given(st.sampled_from(["input", "output"]), st.lists(ENTRY, max_size=2, unique_by=lambda e: e["name"]), OFFER)
def test_a_tensor_is_added_completed_or_refused(
    kind: str, entries: list[dict[str, Any]], offer: dict[str, Any]
) -> None:
    before = [dict(entry) for entry in entries]
    model_config = config(**{kind: entries})
    same = [entry for entry in before if entry["name"] == offer["name"]]
    agrees = not same or (
        same[0]["data_type"] in ("TYPE_INVALID", offer["data_type"])
        and (not same[0]["dims"] or same[0]["dims"] == offer["dims"])
    )
    if agrees:
        add(model_config, kind, offer)
        after = model_config.as_dict()[kind]
        assert len(after) == len(before) + (not same)
        assert [entry for entry in after if entry["name"] == offer["name"]] == [offer]
        assert [e for e in after if e["name"] != offer["name"]] == [e for e in before if e["name"] != offer["name"]]
    else:
        with pytest.raises(ValueError, match=r"configuration (expects datatype|specifies dims)"):
            add(model_config, kind, offer)
        assert model_config.as_dict()[kind] == before


@given(st.integers(0, 8), st.integers(0, 8))
def test_a_batch_size_may_only_grow(configured: int, offered: int) -> None:
    model_config = config(max_batch_size=configured)
    if offered >= configured:
        model_config.set_max_batch_size(offered)
        assert model_config.as_dict()["max_batch_size"] == offered
    else:
        with pytest.raises(ValueError, match=f"configuration specified max_batch_size {configured}.*'m'.*{offered}"):
            model_config.set_max_batch_size(offered)


@pytest.mark.parametrize(
    ("kind", "tensor", "message"),
    [
        (
            "input",
            {"name": "T", "data_type": "TYPE_INT32", "dims": [1], "x": 1},
            f"input 'T' {WHERE} contains property other than 'name', "
            "'data_type', 'dims' and 'optional'.",
        ),
        (
            "output",
            {"name": "T", "data_type": "TYPE_INT32", "dims": [1], "optional": True},
            f"output 'T' {WHERE} contains property other than 'name', "
            "'data_type' and 'dims'.",
        ),
        ("input", {"data_type": "TYPE_INT32"},
         f"input {WHERE} is missing 'name' property."),
        ("input", {"name": "T", "dims": [1]},
         f"input 'T' {WHERE} is missing 'data_type' property."),
        ("output", {"name": "T", "data_type": "TYPE_INT32"},
         f"output 'T' {WHERE} is missing 'dims' property."),
        (
            "input",
            {"name": "K", "data_type": "TYPE_INT32", "dims": [4]},
            "unable to load model 'm', configuration expects datatype TYPE_STRING for input 'K', "
            "model provides TYPE_INT32",
        ),
        (
            "input",
            {"name": "K", "data_type": "TYPE_STRING", "dims": [5]},
            "model 'm', tensor 'K': the model expects dims [5] but the model configuration specifies dims [4]",
        ),
        (
            "input",
            {"name": "K", "data_type": "TYPE_STRING", "dims": [4], "optional": True},
            "model 'm', tensor 'K': the model expects optional True but the model configuration specifies optional "
            "False",
        ),
    ],
)  # fmt: skip
def test_refusals(kind: str, tensor: dict[str, Any], message: str) -> None:
    model_config = config(input=[{"name": "K", "data_type": "TYPE_STRING", "dims": [4], "optional": False}])
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        add(model_config, kind, tensor)


def test_dynamic_batching() -> None:
    model_config = config()
    model_config.set_dynamic_batching()
    model_config.set_dynamic_batching()
    assert model_config.as_dict()["dynamic_batching"] == {}
    kept = config(dynamic_batching={"max_queue_delay_microseconds": 5})
    kept.set_dynamic_batching()
    assert kept.as_dict()["dynamic_batching"] == {"max_queue_delay_microseconds": 5}
    with pytest.raises(ValueError, match="scheduling_choice as 'sequence_batching'"):
        config(sequence_batching={}).set_dynamic_batching()


def test_transaction_policy() -> None:
    model_config = config()
    model_config.set_model_transaction_policy({"decoupled": True})
    assert model_config.as_dict()["model_transaction_policy"] == {"decoupled": True}
    with pytest.raises(ValueError, match="which is already set to 'True'"):
        model_config.set_model_transaction_policy({"decoupled": False})
    with pytest.raises(ValueError, match="contains property other than 'decoupled'"):
        config().set_model_transaction_policy({"coupled": True})
