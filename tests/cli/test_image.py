"""Dockerfiles: their instructions looked at one by one, and by hadolint where it is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from pyserver import __version__
from pyserver.cli import build, dockerfile, image

FILES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "requirements": ("requirements.txt",),
    "conda": ("environment.yml",),
    "both": ("conda.yaml", "requirements.txt"),
}
KNOWN = {"FROM", "ARG", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "STOPSIGNAL", "CMD"}


class Instruction(NamedTuple):
    word: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    """A Dockerfile's instructions, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [Instruction(*line.split(None, 1)) for line in joined.splitlines() if line.strip()]


@pytest.fixture(params=FILES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for file in FILES[request.param]:
        (tmp_path / file).touch()
    (tmp_path / "settings.json").write_text("{}")
    return tmp_path


def test_every_instruction_is_sound(folder: Path) -> None:
    found = instructions(image.dockerfile(folder))
    assert {instruction.word for instruction in found} <= KNOWN
    assert found[0].word == "FROM"
    stages = [re.split(r" AS ", each.rest) for each in found if each.word == "FROM"]
    names = {stage[1] for stage in stages if len(stage) > 1}
    for stage in stages:
        assert re.fullmatch(r"[\w./-]+:[\w.-]+", stage[0]), "a tag that is not 'latest'"
    for each in found:
        if each.word == "COPY" and (source := re.search(r"--from=(\w+)", each.rest)):
            assert source[1] in names
        if each.word == "COPY" and "--from" not in each.rest:
            first = next(word for word in each.rest.split() if not word.startswith("--"))
            assert (folder / first).exists(), f"COPY {first}: the build would fail"
        if each.word == "RUN" and "pip install" in each.rest:
            assert "--no-cache-dir" in each.rest
    last = {each.word: each.rest for each in found}
    assert last["USER"] == "1000", "not root"
    assert last["EXPOSE"].split() == ["8080", "8081", "8082"]
    shell, option, command = json.loads(last["CMD"])
    assert (shell, option, command) == ("sh", "-c", 'exec pyserver start "$MLSERVER_MODELS_DIR"')
    assert f"pyserver=={__version__}" in image.dockerfile(folder)


def test_an_environment_stays_where_it_was_made(folder: Path) -> None:
    text = image.dockerfile(folder)
    described = any(name in text for name in image.ENVIRONMENT_FILES)
    assert (f"COPY --from=environment {image.ENVIRONMENT} {image.ENVIRONMENT}" in text) == described
    assert (f"MLSERVER_MODEL_ENVIRONMENT_PATH={image.ENVIRONMENT}" in text) == described
    required = (folder / "requirements.txt").exists()
    assert ("requirement /tmp/requirements.txt" in text) == required
    assert (f"{image.ENVIRONMENT}/bin/python -m pip install" in text) == (required and described)


def test_hadolint_has_nothing_to_say(folder: Path) -> None:
    hadolint = os.environ.get("HADOLINT") or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        [hadolint, "--no-color", "-"], input=image.dockerfile(folder), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_writing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dockerfile.main([str(folder)]) == 0
    assert f"wrote {folder}/Dockerfile" in capsys.readouterr().out
    assert not (folder / "Dockerfile.dockerignore").exists()
    assert dockerfile.main([str(folder), "-i"]) == 0
    ignored = (folder / "Dockerfile.dockerignore").read_text().splitlines()
    assert {"**/__pycache__", ".envs", ".git"} <= set(ignored)
    assert dockerfile.main([str(folder / "no")]) == 1
    assert capsys.readouterr().err == f"pyserver dockerfile: '{folder}/no': not a folder\n"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker that writes down what it is asked, and the Dockerfile that it is given; what it wrote."""
    said = tmp_path / "said"
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$DOCKER_BUILDKIT" "$@" > {said}\ngrep -c ^FROM "$4" >> {said}\nexit $FAIL\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("FAIL", "0")
    return said


def test_building(docker: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a folder; with $HOME"
    folder.mkdir()
    assert build.main([str(folder), "-t", "name:1", "--no-cache"]) == 0
    buildkit, *words = docker.read_text().splitlines()
    assert buildkit == "1"
    assert words[:4] == ["build", "--rm", "--no-cache", "--file"]
    assert words[5:8] == ["--tag", "name:1", str(folder)]
    assert not Path(words[4]).exists(), "it was a scratch file"
    assert list(folder.iterdir()) == []


def test_a_build_that_fails(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAIL", "3")
    assert build.main([str(tmp_path), "-t", "x"]) == 3
    assert "docker ended with status 3" in capfd.readouterr().err


def test_no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.main([str(tmp_path), "-t", "x"]) == 1
    assert "there is no 'docker' on the PATH" in capsys.readouterr().err
