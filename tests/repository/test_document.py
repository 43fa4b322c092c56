from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.errors import ErrorCode, ServerError
from pyserver.proto.model_config import ModelConfig
from pyserver.repository import document


def refused(text: str) -> str:
    with pytest.raises(ServerError) as caught:
        document.from_json(text)
    assert caught.value.code is ErrorCode.INVALID_ARG
    return caught.value.message


def test_camel_case_numbers_in_quotes_and_enum_numbers_are_read() -> None:
    text = '{"maxBatchSize": "4", "input": [{"name": "x", "dataType": 11, "dims": ["-1", 4.0]}], "output": null}'
    config = document.from_json(text)
    assert (config.max_batch_size, config.input[0].data_type, list(config.input[0].dims)) == (4, 11, [-1, 4])


def test_maps_and_empty_messages_are_read() -> None:
    text = '{"dynamic_batching": {"priority_queue_policy": {"3": {"max_queue_size": 7}}}, "parameters": {"a": {}}}'
    config = document.from_json(text)
    assert config.dynamic_batching.priority_queue_policy[3].max_queue_size == 7
    assert "a" in config.parameters
    assert document.from_json('{"dynamic_batching": {}}').HasField("dynamic_batching")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "model configuration is not JSON: Expecting value"),
        ("name: 'm'", "model configuration is not JSON: Expecting value"),
        ("[" * 100_000, "model configuration is not JSON: "),
        ("[1]", "model configuration is [1], expected a JSON object"),
        ('{"nmae": "m"}', "unknown field 'nmae', did you mean 'name'?"),
        ('{"input": [{}, {"dim": [1]}]}', "unknown field 'input[1].dim', did you mean 'dims'?"),
        ('{"name": 3}', "'name' is 3, expected a string"),
        ('{"name": "\\ud800"}', "'name' is \"\\ud800\", expected valid Unicode"),
        ('{"max_batch_size": true}', "'max_batch_size' is true, expected an integer"),
        ('{"max_batch_size": 1.5}', "'max_batch_size' is 1.5, expected an integer"),
        ('{"max_batch_size": "four"}', "'max_batch_size' is \"four\", expected an integer"),
        ('{"max_batch_size": 2147483648}', "expected an integer from -2147483648 to 2147483647"),
        ('{"input": {}}', "'input' is {}, expected an array"),
        ('{"input": [7]}', "'input[0]' is 7, expected an object"),
        ('{"input": [{"dims": [1, "x"]}]}', "'input[0].dims[1]' is \"x\", expected an integer"),
        ('{"input": [{"data_type": "FP32"}]}', "'input[0].data_type' is \"FP32\", expected one of TYPE_INVALID, "),
        ('{"input": [{"data_type": "TYPE_FLOAT32"}]}', "did you mean 'TYPE_FP32'?"),
        ('{"input": [{"data_type": 99}]}', "'input[0].data_type' is 99, expected one of"),
        ('{"input": [{"optional": 1}]}', "'input[0].optional' is 1, expected true or false"),
        ('{"parameters": {"k": "v"}}', "'parameters['k']' is \"v\", expected an object"),
        ('{"parameters": []}', "'parameters' is [], expected an object"),
        ('{"metric_tags": {"k": 1}}', "'metric_tags['k']' is 1, expected a string"),
        ('{"dynamic_batching": {"priority_queue_policy": {"x": {}}}}', "policy['x']' is \"x\", expected an"),
        ('{"dynamic_batching": {}, "sequence_batching": {}}', "has 'sequence_batching' beside 'dynamic_batching'"),
        ('{"sequence_batching": {"direct": {"minimum_slot_utilization": "x"}}}', "is \"x\", expected a number"),
        ('{"name": "a", "name": "b"}', "model configuration has 'name' twice in one object"),
        (json.dumps({"name": ["x" * 500]}), 'x..., expected a string'),
    ],
)  # fmt: skip
def test_an_error_names_the_field(text: str, message: str) -> None:
    assert message in refused(text)


@pytest.mark.parametrize("number", [0.0, 0.1, 0.3333, 1.0, 1e-30, 3.4e38, 16777217.0, float("inf")])
def test_floats_are_printed_short_and_read_back(number: float) -> None:
    config = ModelConfig()
    config.sequence_batching.direct.minimum_slot_utilization = number
    config.model_metrics.metric_control.add().histogram_options.buckets[:] = [number]
    again = document.from_json(document.to_json(config))
    assert again == config
    printed = document.to_dict(config)["sequence_batching"]["direct"]["minimum_slot_utilization"]
    if number < 1e38:
        assert struct.pack("<f", printed) == struct.pack("<f", number)
        assert len(repr(printed)) <= len(repr(number))


def test_integers_are_numbers_up_to_their_limits() -> None:
    config = ModelConfig()
    config.version_policy.specific.versions[:] = [-(1 << 63), (1 << 63) - 1]
    config.dynamic_batching.max_queue_delay_microseconds = (1 << 64) - 1
    assert '"versions":[-9223372036854775808,9223372036854775807]' in document.to_json(config)
    assert document.from_json(document.to_json(config)) == config


names = st.text(st.characters(codec="utf-8"), max_size=6)
int64 = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def configs(draw: Any) -> ModelConfig:
    config = ModelConfig(name=draw(names), max_batch_size=draw(st.integers(-(1 << 31), (1 << 31) - 1)))
    for name, data_type, dims in draw(st.lists(st.tuples(names, st.integers(0, 14), st.lists(int64)), max_size=3)):
        config.input.add(name=name, data_type=data_type, dims=dims).reshape.shape[:] = dims
    for key, value in draw(st.dictionaries(names, names, max_size=3)).items():
        config.parameters[key].string_value = value
        config.metric_tags[key] = value
    for level in draw(st.lists(st.integers(0, (1 << 64) - 1), max_size=3)):
        config.dynamic_batching.priority_queue_policy[level].allow_timeout_override = draw(st.booleans())
    sample = config.model_warmup.add(name=draw(names))
    sample.inputs[draw(names)].random_data = draw(st.booleans())
    config.model_metrics.metric_control.add().histogram_options.buckets[:] = draw(
        st.lists(st.floats(allow_nan=False), max_size=3)
    )
    return config


@settings(max_examples=60, deadline=None)
@given(configs())
def test_whatever_is_printed_reads_back(config: ModelConfig) -> None:
    assert document.from_json(document.to_json(config)) == config


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        document.from_json(text)
    except ServerError as error:
        assert error.message.startswith("model configuration")  # noqa: PT017


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "input", "dims", "k"]), inner, max_size=3)
    ),
    max_leaves=8,
)
fields = [field.name for field in ModelConfig.DESCRIPTOR.fields]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(fields), json_values, max_size=3))
def test_any_document_is_read_or_refused(values: dict[str, Any]) -> None:
    try:
        document.from_json(json.dumps(values))
    except ServerError as error:
        assert error.message.startswith("model configuration")  # noqa: PT017
