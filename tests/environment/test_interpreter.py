"""The check of an interpreter: its facts, or an error with all of them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from pyserver.environment import interpreter
from pyserver.errors import ErrorCode, ServerError
from tests.support.environments import write_small_environment
from tools.environments import interpreters

SCRIPTS = {
    "ends": ("exit 3", "it ended with status 3: it said nothing"),
    "a library is missing": (
        "echo 'python: error while loading shared libraries: libpython3.9.so.1.0: not found' >&2; exit 127",
        "status 127: python: error while loading shared libraries: libpython3.9.so.1.0: not found",
    ),
    "killed": ("kill -11 $$", "it was killed by SIGSEGV"),
    "talks nonsense": ("echo hello", "it ended with status 0"),
    "lies": ("echo '[1]'", "it ended with status 0"),
    "hangs": ("exec sleep 60", "it said nothing for 0.5 s"),
}


@pytest.mark.parametrize(("program", "why"), SCRIPTS.values(), ids=SCRIPTS)
def test_what_does_not_run(tmp_path: Path, program: str, why: str) -> None:
    python = write_small_environment(tmp_path / "environment", program) / "bin/python"
    with pytest.raises(ServerError) as caught:
        interpreter.check(python, os.environ, 0.5 if "sleep" in program else 20)
    assert caught.value.code is ErrorCode.INVALID_ARG
    assert why in caught.value.message
    assert caught.value.message.startswith(f"interpreter {python} (Python unknown, on Linux-")


PROGRAMS = {
    b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\xb7\0": "a program for aarch64, and this is",
    b"\x7fELF\1\2\1" + bytes(9) + b"\0\2\0\x15": "a program for ppc64, and this is",
    b"\xcf\xfa\xed\xfe" + bytes(60): "a program for macOS",
}


@pytest.mark.parametrize(("head", "why"), PROGRAMS.items(), ids=PROGRAMS.values())
def test_programs_of_other_machines(tmp_path: Path, head: bytes, why: str) -> None:
    python = tmp_path / "python"
    python.write_bytes(head + bytes(100))
    python.chmod(0o755)
    with pytest.raises(ServerError, match=f"Exec format error: it is {why}"):
        interpreter.check(python, os.environ)
    python.chmod(0o644)
    with pytest.raises(ServerError, match="Permission denied"):
        interpreter.check(python, os.environ)


def test_facts() -> None:
    facts = interpreter.check(Path(sys.executable), os.environ)
    assert facts.version == ".".join(map(str, sys.version_info[:3]))
    assert facts.numpy == np.__version__
    assert re.fullmatch(r"interpreter \S+ \(Python \d\.\d+\.\d+, Linux-\S+, numpy \d\S+\)", str(facts))


@pytest.mark.parametrize("version", sorted(interpreters()), ids=lambda version: ".".join(map(str, version)))
def test_every_python_answers(version: tuple[int, int]) -> None:
    """With -S it has no numpy, whatever is installed."""
    facts, error = interpreter.ask(interpreters()[version], {"PYTHONNOUSERSITE": "1"})
    assert facts.version.startswith(f"{version[0]}.{version[1]}.")
    assert facts.numpy or "No module named 'numpy'" in error


OLD = sorted(Path.home().glob(".pyenv/versions/[23].[0-7].*/bin/python"))


@pytest.mark.skipif(not OLD, reason="no Python before 3.8 on this machine")
@pytest.mark.parametrize("python", OLD, ids=lambda path: path.parent.parent.name)
def test_pythons_that_are_too_old_say_so(python: Path) -> None:
    with pytest.raises(ServerError) as caught:
        interpreter.check(python, os.environ)
    version = python.parent.parent.name
    assert f"(Python {version}, Linux" in caught.value.message
    assert f"Python {version} is too old, expected 3.8 or newer" in caught.value.message
