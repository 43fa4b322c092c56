from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.repository.mlserver import reading
from pyserver.repository.mlserver.fields import ServerSettings
from pyserver.repository.mlserver.variables import Variables
from tests.support.mlserver import write_settings

NONE = Variables({})


def test_every_default(tmp_path: Path) -> None:
    settings, notes = reading.server_settings(tmp_path / "settings.json", NONE)
    assert settings == ServerSettings()
    assert notes == ()
    assert (settings.host, settings.http_port, settings.grpc_port, settings.metrics_port) == (
        "0.0.0.0",
        8080,
        8081,
        8082,
    )
    assert (settings.debug, settings.parallel_workers, settings.load_models_at_startup) == (False, 1, True)
    assert (settings.server_name, settings.metrics_endpoint, settings.gzip_enabled) == ("mlserver", "/metrics", True)


def test_the_file_counts_for_more_than_the_environment_and_that_for_more_than_the_default(tmp_path: Path) -> None:
    path = write_settings(tmp_path, "settings.json", server_name="file")
    given = Variables({"MLSERVER_SERVER_NAME": "environment", "MLSERVER_HTTP_PORT": "9"}, {"MLSERVER_GRPC_PORT": "7"})
    settings, _ = reading.server_settings(path, given)
    assert (settings.server_name, settings.http_port, settings.grpc_port) == ("file", 9, 7)
    assert settings.metrics_port == 8082


def test_variables_that_are_json(tmp_path: Path) -> None:
    given = Variables(
        {
            "MLSERVER_EXTENSIONS": '["a"]',
            "MLSERVER_MODEL_REPOSITORY_IMPLEMENTATION_ARGS": '{"bucket": "b"}',
            "MLSERVER_CORS_SETTINGS": '{"max_age": 5}',
            "MLSERVER_ALLOW_ORIGINS": '["*"]',
            "MLSERVER_LOGGING_SETTINGS": "logging.ini",
            "MLSERVER_DEBUG": "true",
        }
    )
    settings, _ = reading.server_settings(tmp_path / "settings.json", given)
    assert settings.extensions == ["a"]
    assert settings.model_repository_implementation_args == {"bucket": "b"}
    assert settings.logging_settings == "logging.ini"
    assert settings.debug
    assert settings.cors_settings is not None
    assert (settings.cors_settings.max_age, settings.cors_settings.allow_origins) == (5, ["*"])


def test_the_variables_of_cors_alone_make_none(tmp_path: Path) -> None:
    settings, _ = reading.server_settings(tmp_path / "settings.json", Variables({"MLSERVER_ALLOW_ORIGINS": '["*"]'}))
    assert settings.cors_settings is None


def test_a_variable_that_should_be_json_and_is_not(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"MLSERVER_EXTENSIONS: expected JSON, got 'a,b'"):
        reading.server_settings(tmp_path / "settings.json", Variables({"MLSERVER_EXTENSIONS": "a,b"}))


def test_a_model_s_settings(tmp_path: Path) -> None:
    path = write_settings(
        tmp_path,
        name_="x",
        implementation="models.Echo",
        inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 2], "parameters": {"content_type": "np"}}],
        parameters={"version": "1", "threshold": 0.5, "extra": {"k": [1]}},
        max_batch_size="8",
    )
    read = reading.model_settings(path, NONE)
    assert read.settings.inputs[0].shape == [-1, 2]
    assert read.settings.inputs[0].parameters == {"content_type": "np"}
    assert read.settings.parameters.model_extra == {"threshold": 0.5}
    assert read.settings.parameters.extra == {"k": [1]}
    assert read.settings.max_batch_size == 8
    assert read.notes == (f"{path}: unknown key 'name_', did you mean 'name'?",)


def test_variables_fill_what_a_model_s_file_leaves_open(tmp_path: Path) -> None:
    path = write_settings(tmp_path, implementation=None, parameters={"version": "1"})
    given = Variables(
        {
            "MLSERVER_MODEL_IMPLEMENTATION": "models.Echo",
            "MLSERVER_MODEL_NAME": "named",
            "MLSERVER_MODEL_VERSION": "2",
            "MLSERVER_MODEL_URI": "./artefact",
            "MLSERVER_MODEL_EXTRA": '{"k": 1}',
            "MLSERVER_MODEL_MAX_BATCH_SIZE": "4",
        }
    )
    settings = reading.model_settings(path, given).settings
    assert (settings.implementation, settings.name, settings.max_batch_size) == ("models.Echo", "named", 4)
    assert (settings.parameters.version, settings.parameters.uri) == ("1", "./artefact")
    assert settings.parameters.extra == {"k": 1}


def test_a_file_that_names_its_environment_is_given_no_other(tmp_path: Path) -> None:
    given = Variables({"MLSERVER_MODEL_ENVIRONMENT_PATH": "/variable"})
    path = write_settings(tmp_path, parameters={"environment_tarball": "env.tar.gz"})
    assert reading.model_settings(path, given).settings.parameters.environment_path is None
    path = write_settings(tmp_path)
    assert reading.model_settings(path, given).settings.parameters.environment_path == "/variable"


def test_numbers_are_taken_for_texts(tmp_path: Path) -> None:
    path = write_settings(tmp_path, parameters={"version": 1})
    assert reading.model_settings(path, NONE).settings.parameters.version == "1"


def test_the_model_of_the_environment() -> None:
    assert reading.settings_of_variables(NONE) is None
    settings = reading.settings_of_variables(
        Variables({"mlserver_model_implementation": "m.C", "MLSERVER_MODEL_URI": "u"})
    )
    assert settings is not None
    assert (settings.implementation, settings.parameters.uri) == ("m.C", "u")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"implementation": None}, "'implementation' is missing"),
        ({"parameters": {"uri": ["a"]}}, "'parameters.uri': input should be a valid string, got [\"a\"]"),
        ({"inputs": [{"name": "x", "datatype": "FLOAT", "shape": [1]}]}, "'inputs.0.datatype': input should be 'BOOL'"),
        ({"inputs": [{"name": "x", "datatype": "FP32"}]}, "'inputs.0.shape' is missing"),
        ({"max_batch_size": -1}, "'max_batch_size': input should be greater than or equal to 0, got -1"),
        ({"parallel_workers": "many"}, "'parallel_workers': input should be a valid integer"),
    ],
)
def test_errors_name_file_and_key(tmp_path: Path, values: dict[str, object], said: str) -> None:
    path = write_settings(tmp_path, **values)
    with pytest.raises(ServerError) as caught:
        reading.model_settings(path, NONE)
    assert caught.value.code is ErrorCode.INVALID_ARG
    assert caught.value.message.startswith(f"{path}: ")
    assert said in caught.value.message


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = write_settings(tmp_path, implementation=None, max_batch_time="soon")
    with pytest.raises(ServerError, match=r"'implementation' is missing; 'max_batch_time': input should be"):
        reading.model_settings(path, NONE)


def test_what_is_no_json_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "model-settings.json"
    path.write_text('{\n  "name": "x",\n  oops\n}')
    with pytest.raises(ServerError, match=r"model-settings.json:3:3: Expecting property name"):
        reading.load(path)


@pytest.mark.parametrize(
    ("content", "said"), [(b"[1]", "holds a list, expected an object"), (b'{"\xff"}', "not UTF-8")]
)
def test_what_is_no_object(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    with pytest.raises(ServerError, match=said):
        reading.load(path)


def test_deprecated_keys_are_accepted_and_said(tmp_path: Path) -> None:
    path = write_settings(tmp_path, warm_workers=True, parallel_workers=2)
    (note,) = reading.model_settings(path, NONE).notes
    assert "'warm_workers' has no effect" in note
    server = write_settings(tmp_path, "settings.json", metrics_dir="/x", cors_settings={"allow_origin": ["*"]})
    _, notes = reading.server_settings(server, NONE)
    assert "'metrics_dir' has no effect" in notes[0]
    assert "unknown key 'allow_origin', did you mean 'allow_origins'?" in notes[1]
