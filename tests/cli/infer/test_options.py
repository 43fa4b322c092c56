from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.cli.infer.options import parse

NEEDED = ("-m", "m", "-i", "in", "-o", "out")


def test_defaults_are_mlserver_s() -> None:
    found = parse(NEEDED, {})
    assert (found.url, found.model_name, found.transport) == ("localhost:8080", "m", "rest")
    assert (found.input_data_path, found.output_data_path) == (Path("in"), Path("out"))
    assert (found.workers, found.retries, found.batch_size, found.timeout) == (10, 3, 1, 60.0)
    assert (found.batch_interval, found.batch_jitter, found.verbose, found.headers) == (0.0, 0.0, 0, ())
    assert not any((found.binary_data, found.use_ssl, found.insecure))


def test_options() -> None:
    found = parse(
        ("-u", "h:1", "-w", "2", "-r", "0", "-s", "4", "-b", "-vv", "-t", "grpc", "-H", "A: b:c", "-H", "D:", *NEEDED),
        {},
    )
    assert (found.url, found.workers, found.retries, found.batch_size) == ("h:1", 2, 0, 4)
    assert (found.binary_data, found.verbose, found.transport) == (True, 2, "grpc")
    assert found.headers == (("A", "b:c"), ("D", ""))
    assert parse(("-v", *NEEDED), {}).verbose == 1


def test_every_option_has_its_variable() -> None:
    given = {
        "URL": "h:1", "MODEL_NAME": "n", "INPUT_DATA_PATH": "i", "OUTPUT_DATA_PATH": "o", "WORKERS": "2",
        "RETRIES": "1", "BATCH_SIZE": "3", "BINARY_DATA": "true", "VERBOSE": "1", "TRANSPORT": "grpc",
        "REQUEST_HEADERS": "A:1 B:2", "CONNECTION_TIMEOUT": "5", "BATCH_INTERVAL": "0.5", "BATCH_JITTER": "0.25",
        "USE_SSL": "true", "INSECURE": "1",
    }  # fmt: skip
    found = parse((), {f"MLSERVER_INFER_{name}": value for name, value in given.items()})
    assert (found.url, found.model_name, found.workers, found.retries, found.batch_size) == ("h:1", "n", 2, 1, 3)
    assert (found.input_data_path, found.output_data_path) == (Path("i"), Path("o"))
    assert (found.binary_data, found.verbose, found.transport, found.timeout) == (True, 1, "grpc", 5.0)
    assert found.headers == (("A", "1"), ("B", "2"))
    assert (found.batch_interval, found.batch_jitter, found.use_ssl, found.insecure) == (0.5, 0.25, True, True)
    assert parse(("-w", "7", *NEEDED), {"MLSERVER_INFER_WORKERS": "2"}).workers == 7
    assert parse(NEEDED, {"MLSERVER_INFER_EXTRA_VERBOSE": "true"}).verbose == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "required"),
        ((*NEEDED, "-w", "0"), "--workers is 0, expected at least 1"),
        ((*NEEDED, "-H", "nothing"), "'nothing' is no header"),
        ((*NEEDED, "-t", "http"), "invalid choice"),
    ],
)
def test_what_cannot_be_taken(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(arguments, {})
    assert said in capsys.readouterr().err
