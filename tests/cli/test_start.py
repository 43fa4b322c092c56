from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyserver.cli import start
from pyserver.errors import ServerError
from pyserver.protocol import cors
from tests.support.mlserver import write_settings


@pytest.fixture(autouse=True)
def away_from_dotenv(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cwd")
    monkeypatch.chdir(folder)
    return folder


def settings(folder: Path, *options: str) -> Any:
    return start.settings_of(folder, options)[0]


def test_mlserver_s_defaults(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert found.repositories == [tmp_path]
    assert (found.http_address, found.grpc_address, found.metrics_address) == ("0.0.0.0", "0.0.0.0", "0.0.0.0")
    assert (found.http_port, found.grpc_port, found.metrics_port) == (8080, 8081, 8082)
    assert (found.id, found.model_control_mode, found.load_model) == ("mlserver", "explicit", ("*",))
    assert (found.allow_metrics, found.log_verbose, found.cache_config, found.exit_on_error) == (True, 0, (), True)
    assert found.mlserver["cors_settings"] is None


def test_what_settings_json_says(tmp_path: Path) -> None:
    write_settings(
        tmp_path, "settings.json", host="127.0.0.1", http_port=1, grpc_port=2, metrics_port=3, server_name="shop",
        debug=True, cache_enabled=True, cache_size=3, load_models_at_startup=False, metrics_endpoint=None,
        environments_dir="/envs", model_repository_root="/ignored",
    )  # fmt: skip
    found = settings(tmp_path)
    assert (found.http_address, found.http_port, found.grpc_port, found.metrics_port) == ("127.0.0.1", 1, 2, 3)
    assert (found.id, found.log_verbose, found.load_model, found.allow_metrics) == ("shop", 1, (), False)
    assert found.cache_config == ("local,size=3145728",)
    assert (found.environment_cache, found.repositories) == ("/envs", [tmp_path])


def test_options_count_for_more(tmp_path: Path) -> None:
    write_settings(tmp_path, "settings.json", http_port=1)
    assert settings(tmp_path, "--http-port", "0", "--id=mine").http_port == 0
    assert settings(tmp_path, "--http-port", "0", "--id=mine").id == "mine"


def test_our_own_variables_lie_between_options_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings(tmp_path, "settings.json", http_port=1, grpc_port=2)
    monkeypatch.setenv("PYSERVER_HTTP_PORT", "3")
    monkeypatch.setenv("PYSERVER_GRPC_PORT", "4")
    monkeypatch.setenv("PYSERVER_MODEL_REPOSITORY", "/elsewhere")
    found = settings(tmp_path, "--grpc-port", "5")
    assert (found.http_port, found.grpc_port, found.repositories) == (3, 5, [tmp_path])


def test_what_can_be_seen_of_the_server(tmp_path: Path) -> None:
    write_settings(
        tmp_path, "settings.json", debug=True, use_structured_logging=True, tracing_server="collector:4317",
        gzip_enabled=False, cors_settings={"allow_origins": ["https://a"]},
    )  # fmt: skip
    found, notes = start.settings_of(tmp_path, ())
    assert (found.log_verbose, found.access_log, found.log_format) == (1, True, "json")
    assert (found.http_compression, found.grpc_engine) == (False, "grpcio")
    assert start.settings_of(tmp_path, ("--grpc-engine=auto",))[0].grpc_engine == "auto"
    assert found.trace_config == (
        "mode=opentelemetry", "level=TIMESTAMPS", "rate=1", "opentelemetry,url=http://collector:4318/v1/traces",
    )  # fmt: skip
    assert notes == []
    assert cors.parse(found.http_cors) == cors.Cors(("https://a",))


def test_variables_and_dotenv_of_the_working_directory(
    tmp_path: Path, away_from_dotenv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (away_from_dotenv / ".env").write_text("MLSERVER_GRPC_PORT=5\nMLSERVER_HTTP_PORT=6\n")
    (tmp_path / ".env").write_text("MLSERVER_METRICS_PORT=7\n")
    monkeypatch.setenv("MLSERVER_HTTP_PORT", "8")
    found = settings(tmp_path)
    assert (found.http_port, found.grpc_port, found.metrics_port) == (8, 5, 8082)


def test_an_error_names_file_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_settings(tmp_path, "settings.json", http_port="no")
    with pytest.raises(ServerError, match=r"settings.json: 'http_port': input should be a valid integer"):
        settings(tmp_path)
    assert start.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"pyserver start: {path}: 'http_port'")


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start.main([str(tmp_path / "no")]) == 1
    assert capsys.readouterr().err == f"pyserver start: '{tmp_path}/no' is not a folder\n"


def test_what_is_not_served_is_said(tmp_path: Path) -> None:
    write_settings(tmp_path, "settings.json", kafka_enabled=True, metrics_dir="/x")
    _, notes = start.settings_of(tmp_path, ())
    assert ["'metrics_dir' has no effect" in notes[0], "'kafka_enabled'" in notes[1]] == [True, True]
