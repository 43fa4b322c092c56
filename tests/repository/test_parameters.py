"""Parameters that are the server's: what they may say, and what `pyserver check` says of those that can't be."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.cli import check
from pyserver.errors import ServerError
from pyserver.proto.model_config import ModelConfig
from pyserver.repository.parameters import RETRY_PARAMETER, execution_limit, switched_on
from tests.support.repositories import write_constant


def config(name: str, text: str) -> ModelConfig:
    made = ModelConfig(name="m")
    made.parameters[name].string_value = text
    return made


def test_an_execution_limit() -> None:
    assert execution_limit(ModelConfig(), 3.0) == 3.0
    assert execution_limit(config("MAX_EXECUTION_SECS", "0.5"), 3.0) == 0.5
    for text in ("", "-1", "soon", "inf", "nan"):
        with pytest.raises(ServerError, match="expected a number of seconds, 0 for no limit"):
            execution_limit(config("MAX_EXECUTION_SECS", text), 0.0)


def test_a_switch() -> None:
    assert switched_on(ModelConfig(), RETRY_PARAMETER, True)
    assert not switched_on(config(RETRY_PARAMETER, "No"), RETRY_PARAMETER, True)
    with pytest.raises(ServerError, match="parameter RETRY_FAILED_BATCH is 'maybe', expected true or false"):
        switched_on(config(RETRY_PARAMETER, "maybe"), RETRY_PARAMETER, True)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("MAX_EXECUTION_SECS", "ten", "parameter MAX_EXECUTION_SECS is 'ten', expected a number of seconds"),
        ("max_execution_sec", "10", "parameter 'max_execution_sec' means nothing to the server: did you mean "),
        ("RETRY_FAILED_BATCHES", "true", "did you mean 'RETRY_FAILED_BATCH'?"),
        ("ADAPTIVE_QUEUE_DELAY", "2", "expected true or false"),
        ("EXECUTION_ENV_PATH", "env.tar.gz", "is a relative path"),
        ("EXECUTION_ENV_PATH", "/no/where.tar.gz", "/no/where.tar.gz"),
        ("PYTHON_EXECUTABLE", "/no/python", "interpreter '/no/python' is not an executable file"),
        ("threshold", "1", ""),
        ("FORCE_CPU_ONLY_INPUT_TENSORS", "no", ""),
    ],
)
def test_check_says_it_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    path = write_constant(tmp_path, "m") / "config.pbtxt"
    line = f'parameters {{ key: "{name}" value {{ string_value: "{text}" }} }}'
    path.write_text(f"{path.read_text()}\n{line}\n")
    place = f"{path}:{path.read_text().splitlines().index(line) + 1}: "
    assert check.main([str(tmp_path)]) == bool(said)
    printed = capsys.readouterr().out
    assert not said or (printed.startswith(place) and said in printed)
