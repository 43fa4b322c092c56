from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.cli import check
from tests.support.mlserver import ECHO, write_echo, write_settings
from tests.support.repositories import write_constant


@pytest.fixture(autouse=True)
def away_from_dotenv(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


def problems(capsys: pytest.CaptureFixture[str], folder: Path) -> list[str]:
    """What `pyserver check` prints of a repository, but for its last line and the folder's path."""
    status = check.main([str(folder)])
    *found, last = capsys.readouterr().out.splitlines()
    assert status == bool(found)
    assert last.endswith(f"{len(found)} problems")
    return [line.removeprefix(f"{folder}/") for line in found]


def test_sound_models_of_both_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_constant(tmp_path, "constant")
    write_echo(tmp_path / "echo", warm_workers=True)
    write_settings(tmp_path / "installed", implementation="mlserver_sklearn.SKLearnModel")
    assert problems(capsys, tmp_path) == []


def test_keys_with_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_settings(tmp_path / "m")
    path.write_text('{\n "implementation": "models.Echo",\n "max_batch_sise": 3,\n "warm_workers": true\n}')
    assert problems(capsys, tmp_path) == [
        "m/model-settings.json:3: unknown key 'max_batch_sise', did you mean 'max_batch_size'?"
    ]
    path.write_text('{\n "implementation": "models.Echo",\n "parameters": {\n  "environment_tarball": "no.tar.gz"}}')
    (found,) = problems(capsys, tmp_path)
    assert found.startswith("m/model-settings.json:4: 'parameters.environment_tarball': there is no ")


def test_settings_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_settings(tmp_path / "m", implementation=None)
    (found,) = problems(capsys, tmp_path)
    assert "m/model-settings.json: 'implementation' is missing" in found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (ECHO, ""),
        ("from elsewhere import Echo", ""),
        ("from elsewhere import *", ""),
        ("Echo = make()", ""),
        ("class Other: pass", "m/models.py: there is no class Echo, which model-settings.json names as"),
        ("class Echo\n  pass", "m/models.py:1: SyntaxError: "),
    ],
)
def test_the_class(tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, said: str) -> None:
    write_echo(tmp_path / "m")
    (tmp_path / "m" / "models.py").write_text(source)
    found = problems(capsys, tmp_path)
    assert (len(found), "".join(found)[: len(said)]) == (bool(said), said)


def test_a_class_path_without_a_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_settings(tmp_path / "m", implementation="Echo")
    assert problems(capsys, tmp_path) == ["m/model-settings.json:1: 'implementation' is 'Echo', expected module.Class"]
