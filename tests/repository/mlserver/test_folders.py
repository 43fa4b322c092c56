from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from pyserver.errors import ServerError
from pyserver.repository import config as configs
from pyserver.repository.folder import ModelFolder
from pyserver.repository.mlserver.config import SETTINGS_PARAMETER
from pyserver.repository.mlserver.folders import MlserverFolder, numbered
from pyserver.repository.repository import ModelRepository
from tests.support.mlserver import write_settings
from tests.support.repositories import write_constant


@pytest.fixture(autouse=True)
def away_from_dotenv(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cwd")
    monkeypatch.chdir(folder)
    return folder


def scanned(*paths: Path) -> dict[str, ModelFolder]:
    return ModelRepository(paths).scan()


def settings_of(config: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(config.parameters[SETTINGS_PARAMETER].string_value)
    return document


def only(folder: ModelFolder) -> Any:
    (config,) = configs.prepare_versions(folder).values()
    return config


def test_a_model_in_the_root_takes_its_name_from_the_settings_or_the_folder(tmp_path: Path) -> None:
    write_settings(tmp_path / "shop")
    assert list(scanned(tmp_path / "shop")) == ["shop"]
    write_settings(tmp_path / "shop", name="prices")
    assert list(scanned(tmp_path / "shop")) == ["prices"]


def test_models_at_any_depth_beside_triton_s(tmp_path: Path) -> None:
    write_settings(tmp_path / "a" / "b" / "deep")
    write_settings(tmp_path / "flat")
    write_settings(tmp_path / ".hidden" / "no")
    write_constant(tmp_path, "constant")
    write_settings(tmp_path / "constant", name="not-me")
    (tmp_path / "data").mkdir()
    found = scanned(tmp_path)
    assert sorted(found) == ["constant", "deep", "flat"]
    assert not found["constant"].of_mlserver
    assert found["deep"].of_mlserver
    assert found["deep"].version_path(1) == tmp_path / "a" / "b" / "deep"


def test_a_repository_without_settings_is_triton_s_alone(tmp_path: Path) -> None:
    (tmp_path / "anything").mkdir()
    assert list(scanned(tmp_path)) == ["anything"]
    write_settings(tmp_path, "settings.json")
    assert list(scanned(tmp_path)) == []


@pytest.mark.parametrize(
    ("labels", "ascending"),
    [
        (["1", "2", "10"], ["1", "2", "10"]),
        (["", "5"], ["5", ""]),
        ([""], [""]),
        (["v2", "v10"], ["v10", "v2"]),
        (["1.10", "1.9"], ["1.10", "1.9"]),
        (["2", "10", "a"], ["2", "10", "a"]),
        (["b", "", "a"], ["a", "b", ""]),
        (["01", "2"], ["01", "2"]),
    ],
)
def test_versions_are_ordered_as_mlserver_does(labels: list[str], ascending: list[str]) -> None:
    for order in itertools.permutations(labels):
        numbers = numbered(order)
        assert sorted(numbers, key=lambda label: numbers[label]) == ascending
        assert all(number > 0 for number in numbers.values())


def test_numbers_stand_for_themselves() -> None:
    assert numbered(["3", "10"]) == {"3": 3, "10": 10}
    assert numbered(["3", ""]) == {"3": 3, "": 4}


def test_versions_of_one_name_from_several_folders(tmp_path: Path) -> None:
    for version in ("1", "10", "2"):
        write_settings(tmp_path / "m" / version, name="m", parameters={"version": version, "content_type": version})
    folder = scanned(tmp_path)["m"]
    assert folder.versions() == [1, 2, 10]
    assert folder.path == tmp_path / "m" / "10"
    assert folder.labels == {"1": 1, "2": 2, "10": 10}
    found = configs.prepare_versions(folder)
    assert [settings_of(config)["parameters"]["content_type"] for config in found.values()] == ["1", "2", "10"]


def test_the_same_version_twice(tmp_path: Path) -> None:
    for where in ("a", "b"):
        write_settings(tmp_path / where, name="m", parameters={"version": "1"})
    with pytest.raises(ServerError, match=r"model 'm' version '1' is there twice: .*/a/model-settings.json and .*/b/"):
        scanned(tmp_path)["m"].check()


def test_a_broken_file_is_a_model_with_an_error(tmp_path: Path) -> None:
    write_settings(tmp_path / "good")
    path = write_settings(tmp_path / "bad", name="named", implementation=None)
    found = scanned(tmp_path)
    found["good"].check()
    with pytest.raises(ServerError, match=f"model 'named': {path}: 'implementation' is missing"):
        found["named"].check()


def test_a_name_that_is_also_triton_s(tmp_path: Path) -> None:
    write_constant(tmp_path, "twin")
    write_settings(tmp_path / "other", name="twin")
    with pytest.raises(ServerError, match="model 'twin' is in more than one"):
        scanned(tmp_path)["twin"].check()


def test_a_link_out_of_the_repository(tmp_path: Path) -> None:
    write_settings(tmp_path / "outside" / "m")
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "m").symlink_to(tmp_path / "outside" / "m")
    with pytest.raises(ServerError, match="expected a target inside a model repository"):
        scanned(tmp_path / "repository")["m"].check()
    (tmp_path / "repository" / "loop").symlink_to(tmp_path / "repository")
    assert list(scanned(tmp_path / "repository")) == ["m"]


def test_a_model_of_variables_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSERVER_MODEL_IMPLEMENTATION", "models.Echo")
    (tmp_path / "shop" / "data").mkdir(parents=True)
    folder = scanned(tmp_path / "shop")["shop"]
    settings = settings_of(only(folder))
    assert settings["implementation"] == "models.Echo"
    assert settings["parameters"]["uri"] == str(tmp_path / "shop")
    assert "_source" not in settings
    monkeypatch.setenv("MLSERVER_MODEL_NAME", "named")
    assert list(scanned(tmp_path / "shop")) == ["named"]
    write_settings(tmp_path / "shop" / "real", name="real")
    assert list(scanned(tmp_path / "shop")) == ["real"]


def test_the_variables_leave_triton_s_models_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSERVER_MODEL_IMPLEMENTATION", "models.Echo")
    write_constant(tmp_path, "constant")
    assert list(scanned(tmp_path)) == ["constant"]


def test_the_whole_of_a_configuration(tmp_path: Path, away_from_dotenv: Path) -> None:
    path = write_settings(
        tmp_path / "m",
        max_batch_size=8,
        max_batch_time=0.25,
        parallel_workers=3,
        cache_enabled=True,
        inputs=[
            {"name": "x", "datatype": "FP32", "shape": [-1, 4]},
            {"name": "text", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "scalar", "datatype": "FP32", "shape": [-1]},
        ],
        outputs=[{"name": "y", "datatype": "INT64", "shape": [-1, 1]}],
        parameters={"uri": "./model.joblib", "threshold": 0.5},
    )
    config = only(scanned(tmp_path)["m"])
    assert (config.name, config.backend, config.max_batch_size) == ("m", "mlserver", 8)
    assert config.dynamic_batching.max_queue_delay_microseconds == 250_000
    assert [(group.count, group.kind) for group in config.instance_group] == [(3, 2)]
    assert [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in config.input] == [
        ("x", 11, [4]),
        ("text", 13, [1]),
    ]
    assert config.response_cache.enable
    settings = settings_of(config)
    assert settings["_source"] == str(path)
    assert settings["_path"] == [str(path.parent), str(tmp_path), str(away_from_dotenv)]
    assert settings["parameters"] == {"uri": str(tmp_path / "m" / "model.joblib"), "threshold": 0.5}
    assert settings["inputs"][2] == {"name": "scalar", "datatype": "FP32", "shape": [-1]}
    assert settings["max_batch_time"] == 0.25


@pytest.mark.parametrize(("size", "seconds"), [(1, 1.0), (0, 1.0), (8, 0.0)])
def test_batching_takes_both_settings(tmp_path: Path, size: int, seconds: float) -> None:
    write_settings(tmp_path / "m", max_batch_size=size, max_batch_time=seconds)
    config = only(scanned(tmp_path)["m"])
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")


@pytest.mark.parametrize(
    ("own", "server", "expected"), [(None, None, 1), (None, 4, 4), (None, 0, 1), (2, 4, 2), (0, 4, 1), (-1, 4, 1)]
)
def test_instances(tmp_path: Path, own: int | None, server: int | None, expected: int) -> None:
    write_settings(tmp_path / "m", **({} if own is None else {"parallel_workers": own}))
    write_settings(tmp_path, "settings.json", **({} if server is None else {"parallel_workers": server}))
    assert only(scanned(tmp_path)["m"]).instance_group[0].count == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "{folder}"),
        ("artefact", "{folder}/artefact"),
        ("../artefact", "{root}/artefact"),
        ("/elsewhere/artefact", "/elsewhere/artefact"),
        ("file:///elsewhere", "/elsewhere"),
        ("s3://bucket/key", "s3://bucket/key"),
    ],
)
def test_uris(tmp_path: Path, given: str | None, expected: str) -> None:
    write_settings(tmp_path / "m", parameters={} if given is None else {"uri": given})
    found = settings_of(only(scanned(tmp_path)["m"]))["parameters"]["uri"]
    assert found == expected.format(folder=tmp_path / "m", root=tmp_path)


def test_environments(tmp_path: Path, away_from_dotenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def environment(**parameters: str) -> str:
        write_settings(tmp_path / "m", parameters=parameters)
        config = only(scanned(tmp_path)["m"])
        return str(config.parameters["EXECUTION_ENV_PATH"].string_value)

    (tmp_path / "env.tar.gz").touch()
    (away_from_dotenv / "envs" / "one").mkdir(parents=True)
    monkeypatch.setenv("ENVS", "envs")
    assert environment(environment_tarball="../env.tar.gz") == str(tmp_path / "env.tar.gz")
    assert environment(environment_path="$ENVS/one") == str(away_from_dotenv / "envs" / "one")
    with pytest.raises(ServerError, match=r"m/model-settings.json: 'parameters.environment_tarball': there is no "):
        environment(environment_tarball="env.tar.gz")
    with pytest.raises(ServerError, match="both 'environment_tarball' and 'environment_path'"):
        environment(environment_tarball="../env.tar.gz", environment_path="$ENVS/one")


def test_what_changes_the_fingerprint(tmp_path: Path) -> None:
    write_settings(tmp_path / "root")
    write_settings(tmp_path / "root" / "inner", name="inner")
    (tmp_path / "artefact").write_text("1")
    write_settings(tmp_path / "root", parameters={"uri": "../artefact"})

    def look() -> Any:
        return scanned(tmp_path / "root")["root"].fingerprint()

    first = look()
    (tmp_path / "root" / "inner" / "more.py").touch()
    assert look() == first
    (tmp_path / "artefact").write_text("22")
    second = look()
    assert (second.config, second.files == first.files) == (first.config, False)
    write_settings(tmp_path / "root", parameters={"uri": "../artefact"}, parallel_workers=2)
    third = look()
    assert (third.config == second.config, third.files) == (False, second.files)


def test_what_the_keys_are_good_for_is_logged_when_a_model_is_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_settings(tmp_path / "m", warm_workers=True, modell="x")
    folder = scanned(tmp_path)["m"]
    with caplog.at_level(logging.WARNING):
        configs.prepare_versions(folder)
    assert [record.getMessage().split(": ", 2)[2] for record in caplog.records] == [
        "'warm_workers' has no effect: instances always load their model before they are asked",
        "unknown key 'modell'",
    ]


def test_a_configuration_of_a_load_request_is_triton_s(tmp_path: Path) -> None:
    write_settings(tmp_path / "m")
    with pytest.raises(ServerError, match="'config' is for Triton's models"):
        configs.prepare_versions(scanned(tmp_path)["m"], "{}")


def test_a_folder_is_equal_to_itself_whatever_its_settings_say(tmp_path: Path) -> None:
    write_settings(tmp_path / "m")
    first = scanned(tmp_path)["m"]
    write_settings(tmp_path / "m", parallel_workers=2)
    assert isinstance(first, MlserverFolder)
    assert scanned(tmp_path)["m"] == first
