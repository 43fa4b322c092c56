"""What a configuration may not say. Texts are the key parts of Triton's, seen or newer, where it has the rule."""

from __future__ import annotations

from typing import Any

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.proto.model_config import ModelConfig
from pyserver.repository import pbtxt, validate
from pyserver.repository.normalise import normalise
from pyserver.repository.rules import ensembles

X = 'input [{name: "X" data_type: TYPE_FP32 dims: [4]}]\n'
Y = 'output [{name: "Y" data_type: TYPE_FP32 dims: [4]}]\n'


def made(text: str) -> ModelConfig:
    config = pbtxt.parse(text, "config.pbtxt")
    config.name = "m"
    if not config.platform:
        config.backend = config.backend or "python"
    normalise(config)
    return config


def tensor(rest: str) -> str:
    return f'input [{{name: "X" data_type: TYPE_FP32 {rest}}}]' + Y


def dynamic(inner: str, largest: int = 4) -> str:
    return f"{X}{Y} max_batch_size: {largest} dynamic_batching {{ {inner} }}"


def sequence(inner: str, largest: int = 4) -> str:
    return f"{X}{Y} max_batch_size: {largest} sequence_batching {{ {inner} }}"


def control(inner: str, name: str = "C") -> str:
    return sequence(f'control_input [{{name: "{name}" control [{inner}]}}]')


def state(rest: str) -> str:
    return sequence(f'state [{{input_name: "SI" output_name: "SO" data_type: TYPE_INT32 dims: [1] {rest}}}]')


def initial(inner: str) -> str:
    return state(f"initial_state [{{ {inner} }}]")


def group(inner: str) -> str:
    return f"{X}{Y} instance_group [{{ {inner} }}]"


def warmup(inner: str, rest: str = "") -> str:
    return f'{X}{Y} model_warmup [{{name: "w" {rest} inputs {{key: "X" value {{ {inner} }} }} }}]'


def ensemble(steps: str, rest: str = "") -> str:
    return (
        'platform: "ensemble" input [{name: "A" data_type: TYPE_FP32 dims: [4]}]'
        f' output [{{name: "Z" data_type: TYPE_FP32 dims: [4]}}] ensemble_scheduling {{ step [{steps}] }} {rest}'
    )


def step(read: str = "A", write: str = "Z", model: str = "n") -> str:
    return (
        f'{{model_name: "{model}" model_version: -1 input_map {{key: "X" value: "{read}"}}'
        f' output_map {{key: "Y" value: "{write}"}}}}'
    )


START = "kind: CONTROL_SEQUENCE_START"
DATA = "data_type: TYPE_FP32 dims: [4] zero_data: true"

REFUSED = {
    "negative batch": (X + Y + "max_batch_size: -1", "'max_batch_size' must be non-negative value"),
    "zero dimension": (tensor("dims: [0]"), "model input 'X' dimension must be integer >= 1, or -1 to indicate a"),
    "dimension -2": (tensor("dims: [-2]"), "model input 'X' dimension must be integer >= 1, or -1 to indicate a"),
    "no dims": (tensor(""), "model input 'X' must specify 'dims'"),
    "no dims of output": (X + 'output {name: "Y" data_type: TYPE_INT8}', "model output 'Y' must specify 'dims'"),
    "no input name": ("input [{data_type: TYPE_FP32 dims: [1]}]", "model input must specify 'name'"),
    "no output name": ("output [{data_type: TYPE_FP32 dims: [1]}]", "model output must specify 'name'"),
    "no type": ('input [{name: "X" dims: [1]}]', "model input 'X' must specify 'data_type'"),
    "input twice": (X + X + Y, "model input 'X' is there 2 times"),
    "output twice": (X + Y + Y, "model output 'Y' is there 2 times"),
    "reshape": (tensor("dims: [4] reshape {shape: [3]}"), "'X' has different size for dims and reshape"),
    "reshape to 0": (tensor("dims: [4] reshape {shape: [0]}"), "reshape dimensions must be integer >= 1, or -1"),
    "reshape to []": (tensor("dims: [1] reshape {}"), "cannot have empty reshape for non-batching model as scalar"),
    "reshape 2 to []": ("max_batch_size: 1 " + tensor("dims: [2] reshape {}"), "different size for dims and reshape"),
    "reshape -1 away": (tensor("dims: [-1, 4] reshape {shape: [4]}"), "different number of variable-size dimensions"),
    "reshape -1 moved": (tensor("dims: [-1, 4] reshape {shape: [2, -1]}"), "different size for dims and reshape"),
    "reshape one part": (tensor("dims: [8, -1, 2] reshape {shape: [2, 2, -1, 4]}"), "different size for dims and"),
    "format": (tensor("dims: [4] format: FORMAT_NHWC"), "NHWC/NCHW require 3 dims"),
    "shape tensor": (tensor("dims: [4] is_shape_tensor: true"), "shape tensors are only supported for TensorRT"),
    "label": (X + Y.replace("}]", ' label_filename: "../x"}]'), "label_filename is '../x', expected a path inside"),
    "absolute label": (X + Y.replace("}]", ' label_filename: "/etc/x"}]'), "expected a path inside the model's folder"),
    "preferred > max": (dynamic("preferred_batch_size: [8]"), "dynamic batching preferred size must be <= max batch"),
    "preferred 0": (dynamic("preferred_batch_size: [0]"), "dynamic batching preferred size must be positive"),
    "preferred without batch": (dynamic("preferred_batch_size: [1]", 0), "preferred size must be <= max batch size"),
    "no default level": (dynamic("priority_levels: 2"), "default priority level must be in range [1, 2]"),
    "default level 3 of 2": (dynamic("priority_levels: 2 default_priority_level: 3"), "level must be in range [1, 2]"),
    "policy of level 3": (
        dynamic("priority_levels: 2 default_priority_level: 1 priority_queue_policy {key: 3 value {}}"),
        "priority queue policy must have priority level in range [1, 2]",
    ),
    "ordered levels": (
        dynamic("priority_levels: 2 default_priority_level: 1 preserve_ordering: true"),
        "Only one priority level is allowed when 'preserve_ordering' is true",
    ),
    "control without values": (control(f"{{{START}}}"), "must specify either 'int32_false_true', 'fp32_false_true' or"),
    "control of two types": (
        control(f"{{{START} int32_false_true: [0, 1] fp32_false_true: [0, 1]}}"),
        "sequence batching specifies more than one from 'int32_false_true', 'fp32_false_true' and 'bool_false_true'",
    ),
    "control of three values": (
        control(f"{{{START} int32_false_true: [0, 1, 2]}}"),
        "sequence batching control 'int32_false_true' must have exactly 2 entries for CONTROL_SEQUENCE_START",
    ),
    "control of one value": (control(f"{{{START} bool_false_true: [true]}}"), "'bool_false_true' must have exactly 2"),
    "control twice": (
        control(f"{{{START} int32_false_true: [0, 1]}}, {{{START} int32_false_true: [0, 1]}}"),
        "sequence batching specifies multiple CONTROL_SEQUENCE_START tensors",
    ),
    "control without name": (control(f"{{{START} int32_false_true: [0, 1]}}", ""), "control tensor must have a name"),
    "control is input": (control(f"{{{START} int32_false_true: [0, 1]}}", "X"), "'X' is an input as well"),
    "id of a wrong type": (
        control("{kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32}"),
        "Allowed data types are TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING",
    ),
    "id with values": (
        control("{kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 int32_false_true: [0, 1]}"),
        "must not specify either 'int32_false_true', 'fp32_false_true' or 'bool_false_true' for CONTROL_SEQUENCE_CORR",
    ),
    "utilization": (sequence("direct {minimum_slot_utilization: 2}"), "minimum slot utilization must be in range"),
    "oldest preferred": (
        sequence("oldest {preferred_batch_size: [9]}"),
        "sequence batching preferred batch size must be <= max batch size",
    ),
    "oldest candidates": (sequence("oldest {max_candidate_sequences: -4}"), "max_candidate_sequences must not be"),
    "state without names": (sequence("state {data_type: TYPE_INT8 dims: [1]}"), "must specify 'input_name'"),
    "state without dims": (sequence('state {input_name: "S"}'), "state 'S' must specify 'dims'"),
    "state without type": (sequence('state {input_name: "S"}'), "state 'S' must specify 'data_type'"),
    "state of dimension 0": (state("dims: [0]"), "state 'SI' dimension must be integer >= 1"),
    "state is input": (sequence('state {input_name: "X"}'), "state 'X': there is another input or state with that"),
    "two initial states": (state("initial_state [{}, {}]"), "must contain exactly one or zero element. Found '2'"),
    "initial without name": (initial("zero_data: true"), "Field 'name' must be set when using initial_state for state"),
    "initial without data": (initial('name: "i"'), "initial_state setting expects state 'SI' to have state_data set"),
    "initial of another type": (initial("data_type: TYPE_FP32 dims: [1]"), "does not match the state data type."),
    "initial of another shape": (initial("dims: [2]"), "doesn't match 'state' dim description. [2] != [1]"),
    "initial of any shape": (initial("dims: [-1]"), "state input name 'SI' contains variable dimensions"),
    "initial file": (initial('data_file: "../../x"'), "state 'SI' data_file is '../../x', expected a path inside"),
    "negative count": (group("count: -1"), "instance group m_0 of model m has count -1, expected at least 1"),
    "cpu with gpus": (group("kind: KIND_CPU gpus: [0]"), "m_0 of model m has kind KIND_CPU but specifies one or more"),
    "auto with gpus": (group("gpus: [0]"), "m_0 of model m has kind KIND_CPU but specifies one or more GPUs"),
    "model with gpus": (group("kind: KIND_MODEL gpus: [0]"), "has kind KIND_MODEL but specifies one or more GPUs"),
    "negative gpu": (group("kind: KIND_GPU gpus: [-1]"), "has gpus [-1], expected numbers from 0"),
    "profile": (group('profile: ["p"]'), "specifies profile field which is only supported for TensorRT models"),
    "slash in a group": (group('name: "a/b"'), "has '/' in its name"),
    "cache of decoupled": (
        "model_transaction_policy {decoupled: true} response_cache {enable: true}",
        "with 'decoupled' transaction policy. Please disable the response cache.",
    ),
    "cache of sequences": (sequence("") + "response_cache {enable: true}", "with sequence batching scheduler. Please"),
    "agents": ('model_repository_agents {agents {name: "checksum"}}', "unable to find repo agent 'checksum'"),
    "file name": ('default_model_filename: "../model.py"', "'../model.py' must be the name of a file in the version"),
    "file in a folder": ('default_model_filename: "sub/model.py"', "must be the name of a file in the version folder"),
    "file of another kind": ('default_model_filename: "x.txt"', "Model name must end with '.py'. Model name is"),
    "cc file": ('cc_model_filenames {key: "7.5" value: "../x"}', "cc_model_filenames '7.5' is '../x'"),
    "warm-up without data": (warmup("data_type: TYPE_FP32 dims: [4]"), "must specify one of 'zero_data'"),
    "warm-up without type": (warmup("dims: [4] zero_data: true"), "input 'X' must specify 'data_type'"),
    "warm-up of any shape": (warmup(DATA.replace("[4]", "[-1]")), "has dims [-1], expected fixed sizes"),
    "warm-up batch": (warmup(DATA, "batch_size: 5"), "sample 'w': batch size 5, max allowed is 0"),
    "warm-up file": (warmup('data_type: TYPE_INT8 input_data_file: "/x"'), "input_data_file is '/x', expected a path"),
    "batch input type": (
        X + Y + 'batch_input {target_name: "C" source_input: "X"}',
        "batch input data type must be TYPE_INT32 or TYPE_FP32, got TYPE_INVALID",
    ),
    "batch input source": (
        X + Y + 'batch_input {target_name: "C" data_type: TYPE_FP32}',
        "batch input kind 'BATCH_ELEMENT_COUNT' expects 1 source input, got 0",
    ),
    "batch input of nothing": (X + 'batch_input {source_input: "Q"}', "unknown source input name 'Q'"),
    "batch output of nothing": (X + 'batch_output {target_name: "Q" source_input: "X"}', "unknown target output name"),
    "batch output source": (X + Y + 'batch_output {target_name: "Y" source_input: "Q"}', "unknown source input name"),
    "steps of no ensemble": (X + Y + "ensemble_scheduling {}", "ensemble scheduling cannot be set for a model whose"),
    "ensemble without steps": ('platform: "ensemble"' + X + Y, "ensemble scheduling must be set for a model whose"),
    "no steps": (ensemble(""), "must specify 'step' for an ensemble"),
    "ensemble with groups": (ensemble(step(), "instance_group {}"), "instance group should not be specified"),
    "ensemble optimized": (ensemble(step(), "optimization {}"), "optimization should not be specified"),
    "ensemble warmed by too much": (ensemble(step(), 'model_warmup { name: "w" batch_size: 2 }'), "batch size 2, max"),
    "step without model": (ensemble(step(model="")), "must specify 'model_name' in step 0"),
    "step without maps": (ensemble('{model_name: "n"}'), "must specify 'input_map' in step 0"),
    "step of itself": (ensemble(step(model="m")), "circular dependency between ensembles"),
    "empty name": (ensemble(step(read="")), "an empty name in 'input_map' of step 0"),
    "unused input": (ensemble(step(read="q")), "ensemble input 'A' is not used"),
    "tensor from nowhere": (ensemble(step(read="q")), "ensemble tensor 'q' is read, but no step makes it"),
    "unmade output": (ensemble(step(write="q")), "ensemble output 'Z' is not used"),
    "made twice": (ensemble(f"{step()}, {step()}"), "ensemble tensor 'Z' can appear in an output map only once"),
    "made and given": (ensemble(f"{step()}, {step(write='A')}"), "'A' can appear in an output map only once"),
    "circle": (ensemble(f"{step()}, {step('b', 'c')}, {step('c', 'b')}"), "steps 1, 2 of the ensemble wait for each"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    text, part = REFUSED[case]
    config = made(text)
    assert part in "; ".join(validate.problems(config))
    with pytest.raises(ServerError) as caught:
        validate.check(config)
    assert caught.value.code is ErrorCode.INVALID_ARG
    assert caught.value.message.startswith("model 'm': ")
    assert part in caught.value.message


ACCEPTED = [
    "",
    tensor("dims: [2, -1, 6] reshape {shape: [1, 2, -1, 3, 2]}"),
    "max_batch_size: 1 " + tensor("dims: [1] reshape {}"),
    tensor("dims: [3, 2, 2] format: FORMAT_NCHW"),
    tensor("dims: [4] allow_ragged_batch: true optional: true"),
    dynamic("preserve_ordering: true default_queue_policy {timeout_action: DELAY}"),
    dynamic("", 0),
    dynamic("priority_levels: 2 default_priority_level: 2 priority_queue_policy {key: 1 value {}}"),
    sequence("oldest {}"),
    sequence("oldest {max_candidate_sequences: 4}", 0),
    control("{kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING}"),
    control(f"{{{START} fp32_false_true: [0, 1]}}"),
    initial('data_type: TYPE_INT32 dims: [1] zero_data: true name: "i"'),
    group("kind: KIND_GPU gpus: [0, 1] count: 3"),
    warmup(DATA, "batch_size: 1 count: 2"),
    "model_transaction_policy {decoupled: true} response_cache {enable: false}",
    ensemble(f"{step('b', 'Z')}, {step('A', 'b')}"),
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: str) -> None:
    assert validate.problems(made(text)) == []


def test_what_the_model_may_complete_is_no_problem_yet() -> None:
    config = made('input [{name: "X"}] max_batch_size: 2')
    validate.check_settings(config)
    with pytest.raises(ServerError, match="must specify 'data_type'; model input 'X' must specify 'dims'"):
        validate.check(config)


def model(name: str, largest: int, dims: str, rest: str = "") -> ModelConfig:
    config = made(f"max_batch_size: {largest} {X}{Y}{rest}".replace("[4]", dims))
    config.name = name
    return config


@pytest.mark.parametrize("ensemble_of", [(4, "[4]"), (0, "[4]"), (0, "[-1, 4]"), (0, "[3, 4]"), (4, "[-1, 4]")])
@pytest.mark.parametrize("step_of", [(0, "[4]"), (2, "[4]"), (8, "[4]"), (0, "[-1, 4]"), (0, "[3, 4]")])
def test_shapes_agree_where_triton_says_so(ensemble_of: tuple[int, str], step_of: tuple[int, str]) -> None:
    """Every pair was loaded into Triton 2.51; these are the ones that it refused."""
    refused = {
        ((0, "[4]"), (0, "[-1, 4]")): "shape",
        ((0, "[4]"), (0, "[3, 4]")): "shape",
        ((0, "[-1, 4]"), (0, "[4]")): "shape",
        ((0, "[3, 4]"), (0, "[4]")): "shape",
        ((4, "[4]"), (2, "[4]")): "batch",
        ((4, "[-1, 4]"), (0, "[4]")): "shape",
        ((4, "[-1, 4]"), (2, "[4]")): "batch",
        ((4, "[-1, 4]"), (8, "[4]")): "shape",
    }
    config = made(ensemble(step(), f"max_batch_size: {ensemble_of[0]}").replace("[4]", ensemble_of[1]))
    found = list(ensembles.against_models(config, {"n": model("n", *step_of)}))
    expected = refused.get((ensemble_of, step_of))
    if expected is None:
        assert found == []
    else:
        part = {"shape": "inconsistent shape: ", "batch": "which only allows maximum batch size to be 2"}[expected]
        assert any(part in problem for problem in found)


@pytest.mark.parametrize(
    ("models", "part"),
    [
        ({}, "ensemble contains models that are not available or ambiguous: n"),
        ({"n": ("", "X")}, None),
        ({"n": ("", "Q")}, "ensemble tensor A is mapping to non-existing input X in model n"),
        ({"n": ("OUT", "X")}, "ensemble tensor Z is mapped from non-existing output Y in model n"),
        ({"n": ("TYPE", "X")}, "ensemble tensor A: inconsistent data type: TYPE_FP32 is inferred from model m while"),
        ({"n": ("MORE", "X")}, "input O in model n is not mapped to any ensemble tensors"),
        ({"n": ("OPTIONAL", "X")}, None),
    ],
)
def test_ensemble_against_its_models(models: dict[str, Any], part: str | None) -> None:
    configs = {}
    for name, (change, input_name) in models.items():
        config = configs[name] = model(name, 0, "[4]")
        config.input[0].name = input_name
        if change == "OUT":
            config.output[0].name = "Q"
        if change == "TYPE":
            config.input[0].data_type = 8
        if change in ("MORE", "OPTIONAL"):
            config.input.add(name="O", data_type=11, dims=[4], optional=change == "OPTIONAL")
    found = "; ".join(ensembles.against_models(made(ensemble(step())), configs))
    assert part in found if part else found == ""
