"""Environments from a list of requirements: which tool, which command, which key."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pyserver.environment import build, prepare
from pyserver.environment.cache import Cache
from pyserver.environment.progress import Progress
from pyserver.environment.source import Origin, Source, beside
from pyserver.errors import ServerError


def here(*names: str) -> build.Callable[[str], str | None]:
    """A PATH that has these programs."""
    return lambda name: f"/tools/{name}" if name in names else None


def write(folder: Path, name: str, text: str = "numpy\n") -> Source:
    (folder / name).write_text(text)
    found = beside(folder)
    assert found is not None
    return found


def test_uv(tmp_path: Path) -> None:
    source = write(tmp_path, "requirements.txt")
    plan = build.plan(source, here("uv"))
    venv, install = build.commands(plan, Path("/cache/env"))
    assert venv == ["/tools/uv", "venv", "--python", sys.executable, "/cache/env"]
    assert install[:3] == ["/tools/uv", "pip", "install"]
    assert install[-4:] == ["--python", "/cache/env/bin/python", "--requirements", str(source.path)]


def test_pip(tmp_path: Path) -> None:
    source = write(tmp_path, "requirements.txt")
    venv, install = build.commands(build.plan(source, here()), Path("/cache/env"))
    assert venv == [sys.executable, "-m", "venv", "/cache/env"]
    assert install[:4] == ["/cache/env/bin/python", "-m", "pip", "install"]
    assert install[-1] == str(source.path)


@pytest.mark.parametrize("tool", build.CONDAS)
def test_conda(tmp_path: Path, tool: str) -> None:
    write(tmp_path, "requirements.txt")
    source = write(tmp_path, "environment.yml", "dependencies: [numpy]\n")
    assert source.origin is Origin.CONDA, "it says more than requirements do"
    (command,) = build.commands(build.plan(source, here(tool)), Path("/cache/env"))
    assert command[0] == f"/tools/{tool}"
    assert command[-4:] == ["--prefix", "/cache/env", "--file", str(source.path)]
    with pytest.raises(ServerError, match="it takes one of micromamba, mamba, conda"):
        build.plan(source, here("uv"))


def test_the_python_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / ".python-version").write_text("3.9.18\n")
    source = write(tmp_path, "requirements.txt")
    assert build.plan(source, here("python3.9")).python == "/tools/python3.9"
    assert build.plan(source, here("uv")).python == "3.9.18"
    with pytest.raises(ServerError, match=r"it asks for Python 3\.9\.18 .* no python3\.9 in PATH"):
        build.plan(source, here())


def test_what_makes_another_environment(tmp_path: Path) -> None:
    keys = set()
    for text, included in (("numpy\n-r more.txt\n", "a"), ("numpy\n-r more.txt\n", "b"), ("numpy\n", "b")):
        (tmp_path / "more.txt").write_text(included)
        keys.add(build.plan(write(tmp_path, "requirements.txt", text), here()).key)
    (tmp_path / ".python-version").write_text("3.9")
    keys.add(build.plan(write(tmp_path, "requirements.txt", "numpy\n"), here("python3.9")).key)
    assert len(keys) == 4
    (tmp_path / ".python-version").unlink()
    (tmp_path / "more.txt").write_text("-r requirements.txt")
    build.plan(write(tmp_path, "requirements.txt", "-r more.txt\n"), here())  # ends


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_pip_really_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    source = write(tmp_path, "requirements.txt", "numpy\n")
    cache = Cache(tmp_path / "cache")
    steps: list[Progress] = []
    key, facts = prepare.prepare(cache, source, steps.append)
    assert facts.numpy
    assert any("installing requirements.txt: " in step.step and "numpy" in step.step for step in steps)
    assert prepare.prepare(cache, source, steps.append) == (key, facts)
