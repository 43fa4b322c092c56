"""Settings from the environment and from a file: which counts, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.cli.flags import parse
from pyserver.settings import Settings

HERE = {"PYSERVER_MODEL_REPOSITORY": "/models"}


def file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "pyserver.toml"
    path.write_text(text)
    return str(path)


def test_everything_can_be_said_by_variables() -> None:
    found = parse(
        [],
        {
            "PYSERVER_MODEL_REPOSITORY": "/a;/b",
            "PYSERVER_HTTP_PORT": "9000",
            "PYSERVER_EXIT_ON_ERROR": "false",
            "PYSERVER_EXIT_TIMEOUT_SECS": "2.5",
            "PYSERVER_LOG_FORMAT": "json",
            "HOME": "/",
        },
    )
    wanted = Settings(
        model_repository=("/a", "/b"), http_port=9000, exit_on_error=False, exit_timeout_secs=2.5, log_format="json"
    )
    assert found == wanted


def test_everything_can_be_said_in_a_file(tmp_path: Path) -> None:
    text = """
    model-repository = ["/a", "/b"]
    load_model = "x"
    http-port = 9000
    exit-on-error = false
    exit-timeout-secs = 2
    log-format = "json"
    """
    found = parse(["--config", file(tmp_path, text)], {})
    assert found == Settings(
        model_repository=("/a", "/b"),
        load_model=("x",),
        http_port=9000,
        exit_on_error=False,
        exit_timeout_secs=2.0,
        log_format="json",
        config=str(tmp_path / "pyserver.toml"),
    )


def test_the_command_line_counts_more_than_variables_and_they_more_than_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, 'model-repository = "/file"\nhttp-port = 1\ngrpc-port = 1\nmetrics-port = 1\n')
    environ = {"PYSERVER_HTTP_PORT": "2", "PYSERVER_GRPC_PORT": "2", "PYSERVER_CONFIG": path}
    found = parse(["--http-port=3"], environ)
    assert (found.http_port, found.grpc_port, found.metrics_port) == (3, 2, 1)
    assert found.model_repository == ("/file",)
    assert parse(["--model-repository", "/line"], environ).model_repository == ("/line",)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PYSERVER_HTTP_PROT": "1"}, "there is no variable PYSERVER_HTTP_PROT; did you mean PYSERVER_HTTP_PORT?"),
        ({"PYSERVER_HTTP_PORT": "eight"}, "PYSERVER_HTTP_PORT is 'eight', expected a whole number"),
        ({"PYSERVER_ALLOW_HTTP": "maybe"}, "PYSERVER_ALLOW_HTTP is 'maybe', expected true or false"),
        ({"PYSERVER_LOG_FORMAT": "x"}, "PYSERVER_LOG_FORMAT is 'x', expected one of default, ISO8601, json"),
        ({"PYSERVER_CONFIG": "/nowhere"}, "--config: /nowhere: No such file or directory"),
    ],
)
def test_what_a_variable_says_wrongly(environ: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused([], {**HERE, **environ}, said, capsys)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http-prot = 1", "unknown key 'http-prot'; did you mean 'http-port'?"),
        ("colour = 1", "unknown key 'colour'\n"),
        ('http-port = "8000"', "http-port is '8000', expected a whole number"),
        ("http-port = true", "http-port is True, expected a whole number"),
        ("allow-http = 1", "allow-http is 1, expected true or false"),
        ("load-model = [1]", "load-model is [1], expected a list of texts"),
        ('log-format = "odd"', "log-format is 'odd', expected one of default, ISO8601, json"),
        ('config = "other.toml"', "unknown key 'config'"),
        ("http-port 8000", "pyserver.toml: "),
        ("http-port = 1\nhttp-port = 2", "pyserver.toml: "),
    ],
)
def test_what_a_file_says_wrongly(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["--config", file(tmp_path, text)], HERE, said, capsys)


def refused(arguments: list[str], environ: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        parse(arguments, environ)
    assert exited.value.code == 2
    assert said in capsys.readouterr().err


def test_a_service_of_kubernetes_called_pyserver_is_no_setting() -> None:
    environ = {
        "PYSERVER_SERVICE_HOST": "10.0.0.1",
        "PYSERVER_SERVICE_PORT_HTTP": "8000",
        "PYSERVER_PORT": "tcp://10.0.0.1:8000",
        "PYSERVER_PORT_8000_TCP_ADDR": "10.0.0.1",
        "PYSERVER_HTTP_PORT": "tcp://10.0.0.1:8000",
        "PYSERVER_HTTP_SERVICE_PORT": "8000",
    }
    assert parse([], {**HERE, **environ}) == Settings(model_repository=("/models",))
