"""The onnxruntime backend by itself, over graphs made here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

HERE = Path(__file__).parent
BACKEND = HERE.parent.parent / "backends" / "onnxruntime"
OURS = ("model", "onnx_graph", "onnx_options", "fake_pb_utils")
Build = Callable[..., Any]


@pytest.fixture(scope="module")
def pb_utils() -> Iterator[ModuleType]:
    """The fake pb_utils, under the real one's name; our modules leave with it."""
    paths = [str(HERE), str(BACKEND)]
    sys.path[:0] = paths
    import fake_pb_utils

    sys.modules["triton_python_backend_utils"] = fake_pb_utils
    yield fake_pb_utils
    del sys.path[: len(paths)]
    for name in (*OURS, "triton_python_backend_utils"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def backend(pb_utils: ModuleType) -> Any:
    import model

    return model.TritonPythonModel


def graph(nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], opset: int = 17) -> Any:
    def described(tensors: dict[str, Any]) -> list[Any]:
        return [
            onnx.helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), shape)
            for name, (kind, shape) in tensors.items()
        ]

    made = onnx.helper.make_graph(nodes, "g", described(inputs), described(outputs))
    opsets = [onnx.helper.make_opsetid("", opset)]
    return onnx.helper.make_model(made, opset_imports=opsets, ir_version=10)


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs, outputs, **attributes)


def identity(kind: str, shape: list[Any], opset: int = 17) -> Any:
    return graph([node("Identity", ["X"], ["Y"])], {"X": (kind, shape)}, {"Y": (kind, shape)}, opset)


@pytest.fixture
def folder(tmp_path: Path, pb_utils: ModuleType) -> Callable[[Any], Path]:
    def save(made: Any) -> Path:
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "model.onnx").write_bytes(made.SerializeToString())
        pb_utils.model_dir = str(tmp_path / "1")
        return tmp_path

    return save


@pytest.fixture
def build(folder: Callable[[Any], Path], backend: Any, pb_utils: ModuleType) -> Build:
    """Make an instance of a graph; what the configuration leaves open is completed as a server does."""

    def make(made: Any, config: dict[str, Any] | None = None, kind: str = "CPU") -> Any:
        path = folder(made)
        values = {"name": "m", "max_batch_size": 0, **(config or {})}
        completed = backend.auto_complete_config(pb_utils.ModelConfig(values)).as_dict()
        instance = backend()
        arguments = {"model_config": json.dumps(completed), "model_repository": str(path), "model_version": "1"}
        instance.initialize({**arguments, "model_name": "m", "model_instance_kind": kind})
        return instance

    return make


@pytest.fixture
def ask(pb_utils: ModuleType) -> Callable[..., list[Any]]:
    """Execute requests, each a dict of arrays; the outputs as dicts, errors as (code, message)."""

    def execute(instance: Any, *requests: dict[str, Any], outputs: tuple[str, ...] = ("Y",)) -> list[Any]:
        made = [
            pb_utils.InferenceRequest([pb_utils.Tensor(*item) for item in request.items()], list(outputs))
            for request in requests
        ]
        answers = instance.execute(made)
        return [
            (answer.error.code.name, answer.error.message)
            if answer.error
            else {tensor.name(): tensor.as_numpy() for tensor in answer.output_tensors}
            for answer in answers
        ]

    return execute


def completed(backend: Any, pb_utils: ModuleType, **values: Any) -> dict[str, Any]:
    result: dict[str, Any] = backend.auto_complete_config(pb_utils.ModelConfig({"name": "m", **values})).as_dict()
    return result


TYPES = {
    "BOOL": ("TYPE_BOOL", np.bool_),
    "UINT8": ("TYPE_UINT8", np.uint8),
    "UINT16": ("TYPE_UINT16", np.uint16),
    "UINT32": ("TYPE_UINT32", np.uint32),
    "UINT64": ("TYPE_UINT64", np.uint64),
    "INT8": ("TYPE_INT8", np.int8),
    "INT16": ("TYPE_INT16", np.int16),
    "INT32": ("TYPE_INT32", np.int32),
    "INT64": ("TYPE_INT64", np.int64),
    "FLOAT16": ("TYPE_FP16", np.float16),
    "FLOAT": ("TYPE_FP32", np.float32),
    "DOUBLE": ("TYPE_FP64", np.float64),
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_goes_through(build: Build, ask: Any, backend: Any, pb_utils: ModuleType, kind: str) -> None:
    instance = build(identity(kind, ["n", 3]))
    data_type, dtype = TYPES[kind]
    assert completed(backend, pb_utils)["input"] == [{"name": "X", "data_type": data_type, "dims": [3]}]
    array = np.arange(6).reshape(2, 3).astype(dtype)
    (answer,) = ask(instance, {"X": array})
    assert answer["Y"].dtype == dtype
    assert np.array_equal(answer["Y"], array)


def test_strings_go_through(build: Build, ask: Any) -> None:
    instance = build(identity("STRING", ["n", 2]))
    words = np.array([["a", "é"], ["", "long " * 99]], np.object_)
    encoded = np.array([[word.encode() for word in row] for row in words], np.object_)
    first, second = ask(instance, {"X": encoded}, {"X": encoded[:1]})
    assert np.array_equal(first["Y"], words)
    assert np.array_equal(second["Y"], words[:1])


def test_a_string_that_is_not_utf8_is_refused_alone(build: Build, ask: Any) -> None:
    instance = build(identity("STRING", ["n"]))
    good, bad = ask(instance, {"X": np.array([[b"a"]], np.object_)}, {"X": np.array([[b"\xff"]], np.object_)})
    assert good["Y"].tolist() == [["a"]]
    assert bad[0] == "INVALID_ARG"
    assert bad[1].startswith("model 'm': input 'X' has an element that is not UTF-8")


def test_bfloat16_goes_through_in_batches(build: Build, ask: Any, backend: Any, pb_utils: ModuleType) -> None:
    instance = build(identity("BFLOAT16", ["n", 2], opset=21))
    assert completed(backend, pb_utils)["output"][0]["data_type"] == "TYPE_BF16"

    def bfloat(bits: Any) -> Any:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(np.array(bits, np.uint16), 16)

    requests = []
    for bits in ([[1, 2]], [[3, 4], [5, 65535]]):
        tensor = pb_utils.Tensor("X", np.empty(0))
        tensor._array = bfloat(bits)
        requests.append(pb_utils.InferenceRequest([tensor], ["Y"]))
    values = [answer.output_tensors[0].as_numpy() for answer in instance.execute(requests)]
    assert [value.data_type() for value in values] == ["tensor(bfloat16)"] * 2
    import model

    assert [model._bits(value).tolist() for value in values] == [[[1, 2]], [[3, 4], [5, 65535]]]


def counted(instance: Any) -> list[int]:
    """Count the rows of each run from here on."""
    rows: list[int] = []
    run = instance._session.run

    class Counting:
        def run(self, names: Any, arrays: Any) -> Any:
            rows.append(next(iter(arrays.values())).shape[0])
            return run(names, arrays)

    instance._session = Counting()
    return rows


def test_requests_of_one_shape_share_a_run(build: Build, ask: Any) -> None:
    instance = build(identity("FLOAT", ["n", "m"]))
    rows = counted(instance)
    arrays = [np.full(shape, place, np.float32) for place, shape in enumerate([(1, 2), (2, 3), (3, 2), (1, 3)])]
    answers = ask(instance, *({"X": array} for array in arrays))
    assert rows == [4, 3]
    assert all(np.array_equal(answer["Y"], array) for answer, array in zip(answers, arrays, strict=True))


def test_without_batching_every_request_runs_alone(build: Build, ask: Any) -> None:
    instance = build(identity("FLOAT", [2, 3]))
    rows = counted(instance)
    array = np.ones((2, 3), np.float32)
    assert [answer["Y"].shape for answer in ask(instance, {"X": array}, {"X": array})] == [(2, 3), (2, 3)]
    assert rows == [2, 2]


def test_one_bad_request_costs_the_others_nothing(build: Build, ask: Any) -> None:
    add = graph(
        [node("Add", ["A", "B"], ["Y"])],
        {"A": ("FLOAT", ["n", "k"]), "B": ("FLOAT", ["n", "k"])},
        {"Y": ("FLOAT", ["n", "k"])},
    )
    instance = build(add)
    two = np.ones((2, 2), np.float32)
    good, uneven, missing, wrong = ask(
        instance,
        {"A": two, "B": two},
        {"A": two, "B": two[:1]},
        {"A": two},
        {"A": two.astype(np.float64), "B": two},
    )
    assert good["Y"].tolist() == [[2, 2], [2, 2]]
    assert uneven == (
        "INVALID_ARG",
        "model 'm': inputs differ in their first dimension, the batch: {'A': 2, 'B': 1}",
    )
    assert "Required inputs (['B']) are missing" in missing[1]
    assert wrong[0] == "INVALID_ARG"
    assert "Unexpected input data type" in wrong[1]


def test_a_wrong_shape_is_the_clients_mistake(build: Build, ask: Any) -> None:
    (answer,) = ask(build(identity("FLOAT", ["n", 4])), {"X": np.ones((1, 3), np.float32)})
    assert answer[0] == "INVALID_ARG"
    assert "Got invalid dimensions for input: X" in answer[1]


def test_a_graph_that_does_not_keep_the_batch(build: Build, ask: Any) -> None:
    made = graph([node("ReduceSum", ["X"], ["Y"])], {"X": ("FLOAT", ["n", 2])}, {"Y": ("FLOAT", ["a", "b"])})
    instance = build(made, {"max_batch_size": 4})
    (answer,) = ask(instance, {"X": np.ones((3, 2), np.float32)})
    assert answer[0] == "INTERNAL"
    assert "output 'Y' has shape [1, 1] for a batch of 3" in answer[1]


def test_only_requested_outputs_are_made(build: Build, ask: Any) -> None:
    nodes = [node("Identity", ["X"], ["Y"]), node("Neg", ["X"], ["Z"])]
    two = graph(nodes, {"X": ("FLOAT", ["n", 1])}, {"Y": ("FLOAT", ["n", 1]), "Z": ("FLOAT", ["n", 1])})
    instance = build(two)
    array = np.ones((1, 1), np.float32)
    assert [list(answer) for answer in ask(instance, {"X": array}, outputs=("Z",))] == [["Z"]]
    assert [list(answer) for answer in ask(instance, {"X": array}, outputs=("Z", "Y"))] == [["Y", "Z"]]


def test_scalars_are_one_element_to_clients(build: Build, ask: Any, backend: Any, pb_utils: ModuleType) -> None:
    instance = build(identity("INT64", []))
    assert completed(backend, pb_utils)["input"][0]["dims"] == [1]
    assert completed(backend, pb_utils).get("max_batch_size", 0) == 0
    (answer,) = ask(instance, {"X": np.array([7])})
    assert answer["Y"].tolist() == [7]


def test_one_value_a_row_is_one_element_to_clients(build: Build, ask: Any) -> None:
    instance = build(identity("INT64", ["n"]))
    first, second = ask(instance, {"X": np.array([[7]])}, {"X": np.array([[8], [9]])})
    assert first["Y"].tolist() == [[7]]
    assert second["Y"].tolist() == [[8], [9]]


def test_batching_is_completed_where_the_graph_allows_it(folder: Any, backend: Any, pb_utils: ModuleType) -> None:
    folder(identity("FLOAT", ["n", 4]))
    found = completed(backend, pb_utils)
    assert found["max_batch_size"] == 4
    assert found["dynamic_batching"] == {}
    assert found["input"] == [{"name": "X", "data_type": "TYPE_FP32", "dims": [4]}]
    found = completed(backend, pb_utils, max_batch_size=32)
    assert found["max_batch_size"] == 32
    assert "dynamic_batching" not in found
    assert "dynamic_batching" not in completed(backend, pb_utils, sequence_batching={})
    entry = {"name": "X", "data_type": "TYPE_FP32", "dims": [-1, 4]}
    found = completed(backend, pb_utils, input=[dict(entry)])
    assert "max_batch_size" not in found
    assert found["output"][0]["dims"] == [-1, 4]
    assert completed(backend, pb_utils, input=[{**entry, "dims": [4]}])["max_batch_size"] == 4


def test_no_batching_where_a_first_dimension_is_fixed(folder: Any, backend: Any, pb_utils: ModuleType) -> None:
    folder(identity("FLOAT", [1, "w"]))
    found = completed(backend, pb_utils)
    assert "max_batch_size" not in found
    assert found["input"][0]["dims"] == [1, -1]


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"input": [{"name": "Q", "data_type": "TYPE_FP32", "dims": [4]}]}, "unexpected inference input 'Q', allowed"),
        (
            {"input": [{"name": "X", "data_type": "TYPE_INT8", "dims": [4]}]},
            "unexpected datatype TYPE_INT8 for inference input 'X', expecting TYPE_FP32",
        ),
        (
            {"max_batch_size": 2, "output": [{"name": "Y", "data_type": "TYPE_FP32", "dims": [5]}]},
            "tensor 'Y': the model expects shape [-1, 4] but the model configuration specifies [-1, 5] (the first",
        ),
        (
            {"max_batch_size": 2, "input": [{"name": "X", "data_type": "TYPE_FP32", "dims": [-1, 4]}]},
            "the model expects shape [-1, 4] but the model configuration specifies [-1, -1, 4]",
        ),
        (
            {"parameters": {"intra_op_thread_count": {"string_value": "x"}}},
            "'intra_op_thread_count' is 'x', expected a",
        ),
        (
            {"parameters": {"execution_mode": {"string_value": "2"}}},
            "'execution_mode' is '2', expected one of 0, 1, seq",
        ),
        ({"optimization": {"graph": {"level": 7}}}, "optimization.graph.level is 7, expected -1, 0, 1 or 2"),
        (
            {"optimization": {"execution_accelerators": {"cpu_execution_accelerator": [{"name": "tpu"}]}}},
            "parameter 'cpu_execution_accelerator' is 'tpu', expected one of openvino, tensorrt, dnnl",
        ),
    ],
)
def test_a_configuration_that_contradicts_is_refused(build: Build, config: dict[str, Any], part: str) -> None:
    with pytest.raises(ValueError, match=r"^model 'm'") as caught:
        build(identity("FLOAT", ["n", 4]), config)
    assert part in str(caught.value)


def test_a_gpu_that_onnxruntime_cannot_use(build: Build) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime can")
    with pytest.raises(ValueError, match="has no CUDAExecutionProvider, only "):
        build(identity("FLOAT", ["n", 4]), kind="GPU")


def test_options_are_set(backend: Any) -> None:
    import onnx_options

    given = {
        "intra_op_thread_count": "3",
        "inter_op_thread_count": "2",
        "execution_mode": "parallel",
        "graph_optimization_level": "basic",
        "enable_mem_arena": "0",
        "enable_mem_pattern": "false",
        "session.intra_op.allow_spinning": "0",
    }
    config = {"parameters": {key: {"string_value": value} for key, value in given.items()}}
    options = onnx_options.session_options("m", config)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 2)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert not options.enable_cpu_mem_arena
    assert not options.enable_mem_pattern
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_instances_share_the_cpus(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx_options

    monkeypatch.setattr(onnx_options.os, "sched_getaffinity", lambda _: set(range(8)))
    groups = [{"count": 2}, {"count": 1, "passive": True}, {"count": 1}]
    assert onnx_options.session_options("m", {"instance_group": groups}).intra_op_num_threads == 2
    assert onnx_options.session_options("m", {}).intra_op_num_threads == 8
    assert onnx_options.session_options("m", {"instance_group": [{"count": 99}]}).intra_op_num_threads == 1


def test_files_that_are_no_model(tmp_path: Path, backend: Any, pb_utils: ModuleType, folder: Any) -> None:
    pb_utils.model_dir = str(tmp_path / "2")
    with pytest.raises(ValueError, match=r"model 'm': model file not found in '.*/2/model.onnx'"):
        completed(backend, pb_utils)
    folder(identity("FLOAT", ["n"]))
    (tmp_path / "1" / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"model 'm': onnxruntime .* can't load '.*model.onnx'"):
        completed(backend, pb_utils)


def test_an_opset_that_is_too_new(folder: Any, backend: Any, pb_utils: ModuleType) -> None:
    made = identity("FLOAT", ["n"])
    made.opset_import[0].version = 99
    folder(made)
    with pytest.raises(ValueError, match="export the model with an older opset, or put a newer onnxruntime"):
        completed(backend, pb_utils)


def test_a_type_that_no_client_can_send(folder: Any, backend: Any, pb_utils: ModuleType) -> None:
    folder(identity("FLOAT8E4M3FN", ["n"], opset=21))
    with pytest.raises(ValueError, match=r"input 'X' is a tensor\(float8e4m3fn\), which no client can send"):
        completed(backend, pb_utils)


def test_outputs_that_are_no_tensors_are_left_out(folder: Any, backend: Any, pb_utils: ModuleType) -> None:
    nodes = [node("Identity", ["X"], ["Y"]), node("SequenceConstruct", ["X"], ["S"])]
    made = graph(nodes, {"X": ("FLOAT", ["n", 1])}, {"Y": ("FLOAT", ["n", 1])})
    sequence = onnx.helper.make_tensor_sequence_value_info("S", onnx.TensorProto.FLOAT, None)
    made.graph.output.append(sequence)
    folder(made)
    assert [entry["name"] for entry in completed(backend, pb_utils)["output"]] == ["Y"]
    del made.graph.output[0]
    (Path(pb_utils.model_dir) / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ValueError, match=r"no output is a tensor that a client can receive: 'S' is a seq\("):
        completed(backend, pb_utils)
