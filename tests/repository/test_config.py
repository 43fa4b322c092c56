from __future__ import annotations

import json
from typing import Any

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.proto import model_config
from pyserver.repository import config, versions
from pyserver.repository.files import check_files
from pyserver.repository.instances import instances

IO = 'input [{name: "X" data_type: TYPE_FP32 dims: [4]}] output [{name: "Y" data_type: TYPE_FP32 dims: [4]}]\n'


def test_a_folder_without_configuration_is_told_by_its_files(make_model: Any) -> None:
    made = config.prepare(make_model("m"))
    assert (made.name, made.backend, made.platform, made.default_model_filename) == ("m", "python", "", "model.py")
    made = config.prepare(make_model("o", files=("3/model.onnx",)))
    assert (made.backend, made.platform, made.default_model_filename) == (
        "onnxruntime",
        "onnxruntime_onnx",
        "model.onnx",
    )


def test_a_backend_is_told_by_file_platform_or_name(make_model: Any) -> None:
    assert config.read_config(make_model("a", 'default_model_filename: "x.py"', ("1/x.py",))).backend == "python"
    assert config.read_config(make_model("b", 'platform: "onnxruntime_onnx"')).backend == "onnxruntime"
    assert config.read_config(make_model("c.sklearn", None, ("1/model.pkl",))).backend == "sklearn"
    assert config.read_config(make_model("d", 'backend: "torch"', ())).backend == "torch"
    assert config.read_config(make_model("e", "ensemble_scheduling { step {} }", ())).platform == "ensemble"
    with pytest.raises(ServerError, match="model 'f': unexpected platform type 'nope', expected one of ensemble"):
        config.read_config(make_model("f", 'platform: "nope"'))


@pytest.mark.parametrize("files", [(), ("1/other.py",), ("model.py",), ("0/model.py",)])
def test_a_backend_that_nothing_tells(make_model: Any, files: tuple[str, ...]) -> None:
    with pytest.raises(ServerError, match="Could not determine backend for model 'm'") as caught:
        config.read_config(make_model("m", IO, files))
    assert caught.value.code is ErrorCode.INVALID_ARG
    assert "Expected model name of the form 'model.<backend_name>'" in caught.value.message


def test_another_models_name_is_refused(make_model: Any) -> None:
    assert config.read_config(make_model("m", 'name: "m"')).name == "m"
    with pytest.raises(ServerError, match="unexpected directory name 'd' for model 'n', directory name must equal"):
        config.read_config(make_model("d", 'name: "n"'))


def test_a_named_configuration_goes_before_the_plain_one(make_model: Any) -> None:
    folder = make_model("m", "max_batch_size: 1")
    (folder.path / "configs").mkdir()
    (folder.path / "configs" / "fast.pbtxt").write_text("max_batch_size: 2")
    assert config.read_config(folder, "fast").max_batch_size == 2
    assert config.read_config(folder, "slow").max_batch_size == 1
    assert config.read_config(folder).max_batch_size == 1
    with pytest.raises(ServerError, match="is not allowed"):
        config.read_config(folder, "../../etc/x")


def test_a_configuration_that_is_no_file(make_model: Any) -> None:
    folder = make_model("m", files=("1/model.py", "config.pbtxt/x"))
    with pytest.raises(ServerError, match=r"config.pbtxt: it is not a file"):
        config.read_config(folder)
    folder = make_model("n")
    (folder.path / "config.pbtxt").symlink_to("gone")
    with pytest.raises(ServerError, match=r"config.pbtxt: it is not a file"):
        config.read_config(folder)


def test_an_override_stands_in_for_the_file(make_model: Any) -> None:
    folder = make_model("m", "max_batch_size: 1 parameters {}")
    made = config.prepare(folder, json.dumps({"max_batch_size": 3}))
    assert (made.max_batch_size, made.backend, len(made.parameters)) == (3, "python", 0)
    with pytest.raises(ServerError, match="unknown field 'max_batchsize', did you mean 'max_batch_size'"):
        config.prepare(folder, '{"max_batchsize": 3}')
    with pytest.raises(ServerError, match="unexpected directory name"):
        config.prepare(folder, '{"name": "x"}')


def test_a_wrong_configuration_is_refused_with_all_that_is_wrong(make_model: Any) -> None:
    text = "max_batch_size: -1 dynamic_batching { preferred_batch_size: [0] }"
    with pytest.raises(ServerError) as caught:
        config.prepare(make_model("m", text))
    assert caught.value.message == (
        "model 'm': 'max_batch_size' must be non-negative value, got -1;"
        " dynamic batching preferred size must be positive, got 0"
    )


@pytest.mark.parametrize(
    ("policy", "available", "chosen"),
    [
        ("", [3, 1, 10], [10]),
        ("latest {}", [1], []),
        ("latest { num_versions: 2 }", [3, 1, 10], [3, 10]),
        ("latest { num_versions: 9 }", [3, 1], [1, 3]),
        ("all {}", [3, 1], [1, 3]),
        ("all {}", [], []),
        ("specific { versions: [3, 7, 1] }", [1, 2, 3], [1, 3]),
        ("specific { versions: [7] }", [1], []),
        ("specific {}", [1], []),
    ],
)
def test_version_policies(make_model: Any, policy: str, available: list[int], chosen: list[int]) -> None:
    made = config.prepare(make_model("m", f"version_policy {{ {policy} }}"))
    if chosen:
        assert versions.select(made, available) == chosen
        return
    with pytest.raises(ServerError, match="at least one version must be available under the version policy of model"):
        versions.select(made, available)


def test_versions_that_a_policy_names_in_vain(make_model: Any) -> None:
    made = config.prepare(make_model("m", "version_policy { specific { versions: [7, 1] } }"))
    assert versions.missing(made, [1, 2]) == [7]


GPU = "instance_group [{kind: KIND_GPU count: 2 gpus: [1, 3]}, {name: 'c' kind: KIND_CPU}, {kind: KIND_MODEL}]"


@pytest.mark.parametrize(
    ("text", "gpus", "expected"),
    [
        ("", [], [("m_0", "CPU", 0)]),
        ("", [0, 1], [("m_0", "GPU", 0), ("m_1", "GPU", 1)]),
        ("instance_group {count: 2}", [], [("m_0_0", "CPU", 0), ("m_0_1", "CPU", 0)]),
        ("instance_group {kind: KIND_CPU}", [0], [("m_0_0", "CPU", 0)]),
        ("instance_group {name: 'g'}", [], [("g_0", "CPU", 0)]),
        ("instance_group [{name: 'g'}, {name: 'g'}]", [], [("g_0", "CPU", 0), ("g_1", "CPU", 0)]),
        (
            GPU,
            [1, 3],
            [
                ("m_0_0", "GPU", 1),
                ("m_0_1", "GPU", 3),
                ("m_0_2", "GPU", 1),
                ("m_0_3", "GPU", 3),
                ("c_0", "CPU", 0),
                ("m_2_0", "MODEL", 0),
            ],
        ),
    ],
)
def test_instances(make_model: Any, text: str, gpus: list[int], expected: list[tuple[str, str, int]]) -> None:
    assert [entry[:3] for entry in instances(config.prepare(make_model("m", text), gpus=gpus))] == expected


def test_passive_instances_and_ensembles(make_model: Any) -> None:
    made = config.prepare(make_model("m", "instance_group [{passive: true}, {}]"))
    assert [entry.passive for entry in instances(made)] == [True, False]
    assert instances(model_config.ModelConfig(name="e", platform="ensemble")) == []


def test_files_that_are_missing(make_model: Any) -> None:
    text = (
        'backend: "python"'
        + IO.replace('"Y"', '"Y" label_filename: "labels.txt"')
        + ('model_warmup [{name: "w" inputs {key: "X" value {data_type: TYPE_FP32 dims: [4] input_data_file: "d"}}}]')
    )
    folder = make_model("m", text, files=("1/model.py", "2/x"))
    made = config.prepare(folder)
    with pytest.raises(ServerError) as caught:
        check_files(made, folder, [1, 2])
    for part in ("Python model file not found in '", "2/model.py'", "label file of output 'Y'", "warmup/d'"):
        assert part in caught.value.message
    assert "1/model.py" not in caught.value.message
    (folder.path / "2" / "model.py").touch()
    (folder.path / "labels.txt").touch()
    (folder.path / "warmup").mkdir()
    (folder.path / "warmup" / "d").touch()
    check_files(made, folder, [1, 2])


def test_a_configuration_behind_a_path_that_cannot_be_read(make_model: Any) -> None:
    folder = make_model("m")
    (folder.path / "config.pbtxt").symlink_to("x" * 300)
    with pytest.raises(ServerError, match=r"config.pbtxt: File name too long"):
        config.read_config(folder)
