from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from pyserver.cli import init


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_built_in_template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init.main([str(tmp_path / "shop")]) == 0
    assert f"pyserver start {tmp_path}/shop" in capsys.readouterr().out
    assert files(tmp_path / "shop") == {
        ".gitignore", "Makefile", "README.md", "model-settings.json", "requirements.txt", "runtime.py", "settings.json",
        "tests/test_runtime.py",
    }  # fmt: skip
    assert json.loads((tmp_path / "shop" / "model-settings.json").read_text())["name"] == "shop"
    assert not any("__NAME__" in path.read_text() for path in (tmp_path / "shop").rglob("*.*") if path.is_file())


def test_a_folder_that_is_not_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").touch()
    assert init.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"pyserver init: '{tmp_path}' is not empty\n"


def test_a_name_that_no_model_may_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init.main([str(tmp_path / "my model")]) == 1
    assert "model name 'my model' is not allowed" in capsys.readouterr().err


def test_a_folder_as_template(tmp_path: Path) -> None:
    (tmp_path / "template" / "deep").mkdir(parents=True)
    (tmp_path / "template" / "deep" / "a.py").write_text("a")
    assert init.main([str(tmp_path / "made"), "-t", str(tmp_path / "template")]) == 0
    assert files(tmp_path / "made") == {"deep/a.py"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("top/a", "top/b/c"), {"a", "b/c"}), (("a", "b/c"), {"a", "b/c"}), (("a",), {"a"})],
)
def test_a_zip_as_template(tmp_path: Path, names: tuple[str, ...], expected: set[str]) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    assert init.main([str(tmp_path / "made"), "-t", str(tmp_path / "t.zip")]) == 0
    assert files(tmp_path / "made") == expected


@pytest.mark.parametrize("name", ["../a", "/a", "b/../../a", "b\\a"])
def test_a_zip_that_leads_out(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr(name, "x")
    assert init.main([str(tmp_path / "in" / "made"), "-t", str(tmp_path / "t.zip")]) == 1
    assert "leads out of the archive" in capsys.readouterr().err
    assert files(tmp_path) == {"t.zip"}


def test_what_is_no_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.zip").write_text("no")
    assert init.main([str(tmp_path / "made"), "-t", str(tmp_path / "t.zip")]) == 1
    assert "File is not a zip file" in capsys.readouterr().err


@pytest.mark.parametrize("known", [True, False])
def test_cookiecutter(
    tmp_path: Path, known: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "bin" / "cookiecutter"
    program.parent.mkdir()
    if known:
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\nexit 4\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "cookiecutter.json").write_text("{}")
    for template in ("https://host/template.git", str(tmp_path / "t")):
        assert init.main(["-t", template]) == (4 if known else 1)
        if known:
            assert (tmp_path / "said").read_text() == f"-- {template}\n"
        else:
            assert "there is no 'cookiecutter' on the PATH" in capsys.readouterr().err
