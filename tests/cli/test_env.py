"""`pyserver env`, as it is typed."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyserver.cli.bar import Bar, drawn
from pyserver.cli.main import main
from pyserver.environment.progress import Progress
from tests.support.environments import pack_tar, write_small_environment


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return pack_tar(write_small_environment(tmp_path / "small"), tmp_path / "small.tar.gz")


def env(*arguments: object) -> int:
    return main(["env", *map(str, arguments)])


def test_check_list_and_prune(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = ("--environment-cache", tmp_path / "cache")
    assert env("check", small, *there) == 0
    out, err = capsys.readouterr()
    assert re.search(rf"interpreter  {tmp_path}/cache/\w+/env/bin/python\npython       3\.\d+\.\d+\n", out)
    assert "unpacking small.tar.gz: " in err
    assert "\r" not in err, "plain lines where there is no terminal"
    assert env("list", *there) == 0
    title, row = capsys.readouterr().out.splitlines()
    assert title.split() == ["KEY", "MB", "PYTHON", "NUMPY", "UNUSED", "FROM"]
    assert row.endswith(str(small))
    assert env("prune", "--older-than", 1, *there) == 0
    assert "0 removed, 0 MB; 1 left" in capsys.readouterr().out
    assert env("prune", *there) == 0
    assert "1 removed" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["known", "locks"]


def test_check_of_what_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\3\4 and no more")
    assert env("check", tmp_path / "x.zip", "--environment-cache", tmp_path / "cache") == 1
    assert f"pyserver env: environment '{tmp_path}/x.zip': the archive is damaged" in capsys.readouterr().err
    assert env("check", tmp_path / "nothing", "--environment-cache", tmp_path / "cache") == 1


def test_pack_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/pyvenv.cfg").touch()
    (tmp_path / "conda/conda-meta").mkdir(parents=True)
    (tmp_path / "old.zip").touch()
    for prefix_, output, why in (
        ("venv", "x.zip", "is a venv: its interpreter lies elsewhere"),
        (".", "x.zip", "it has no conda-meta"),
        ("conda", "x.rar", "expected a name that ends with"),
        ("conda", "old.zip", "--force overwrites it"),
    ):
        assert env("pack", tmp_path / prefix_, "-o", tmp_path / output) == 1
        assert why in capsys.readouterr().err


def test_pack_and_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Packed by conda-pack, in the format that its name says, it works where it is unpacked."""
    pytest.importorskip("conda_pack")
    source = write_small_environment(tmp_path / "source")
    (source / "conda-meta").mkdir()
    (source / "conda-meta/history").touch()
    (source / "lib/python3.9/site-packages").mkdir(parents=True)
    assert env("pack", source, "-o", tmp_path / "env.tar.zst") == 0
    said = capsys.readouterr().out
    assert "$$TRITON_MODEL_DIRECTORY/env.tar.zst" in said
    assert (tmp_path / "env.tar.zst").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    assert env("check", tmp_path / "env.tar.zst", "--environment-cache", tmp_path / "cache") == 0
    assert "python       3." in capsys.readouterr().out


def test_the_bar_of_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    bar = Bar(terminal)
    bar(Progress("unpacking x", 50_000_000, 100_000_000))
    bar(Progress("trying"))
    bar.close()
    first, second, last = terminal.getvalue().lstrip("\r").split("\r")[:3]
    assert first == "[############............]  50% unpacking x: 50.0 of 100.0 MB"
    assert second.startswith("trying ")
    assert len(second) == len(first), "what was there is overwritten"
    assert not last.strip()
    assert drawn(Progress("x", 3, 3)).startswith("[########################] 100% ")


def test_lines_elsewhere() -> None:
    stream = io.StringIO()
    bar = Bar(stream)
    for done in range(101):
        bar(Progress("unpacking x", done * 1_000_000, 100_000_000))
    bar.close()
    assert len(stream.getvalue().splitlines()) == 11


@pytest.mark.parametrize("arguments", [["--version"], ["serve", "--version"]])
def test_serving_is_what_it_does(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "pyserver", *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pyserver ")
    done = subprocess.run([sys.executable, "-m", "pyserver", "env"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "COMMAND" in done.stderr
