"""Environments that are made here, from a list of requirements beside the model: by uv or pip, or by a conda."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyserver.environment.children import run
from pyserver.environment.content import key_of
from pyserver.environment.progress import Progress, Report
from pyserver.environment.source import Origin, Source
from pyserver.environment.variables import scrubbed
from pyserver.errors import invalid

CONDAS = ("micromamba", "mamba", "conda")
LINE_LENGTH = 120
INCLUDES = re.compile(rb"^\s*(?:-r|--requirement|-c|--constraint)[ =]+(\S+)", re.MULTILINE)
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made: `tool` makes it, `python` is the interpreter of a venv, `key` its place in the cache."""

    source: Source
    tool: str
    python: str
    key: str


def plan(source: Source, which: Callable[[str], str | None] = shutil.which) -> Plan:
    """How `source` is made on this machine; ServerError (INVALID_ARG) if the tools for it are not here."""
    text = _text(source.path)
    if source.origin is Origin.CONDA:
        tool = next(filter(None, map(which, CONDAS)), None)
        if tool is None:
            raise invalid(f"it takes one of {', '.join(CONDAS)} to make it, and none is in PATH")
        return Plan(source, tool, "", key_of(b"conda", text, _machine()))
    tool = which("uv") or ""
    python = _interpreter(source.python, tool, which)
    return Plan(source, tool, python, key_of(b"venv", text, python.encode(), sys.version.encode(), _machine()))


def build(plan: Plan, folder: Path, report: Report) -> None:
    """Make the environment in `folder`, which must not be there yet; ServerError with the tool's last lines if not."""

    def heard(line: str) -> None:
        report(Progress(f"installing {plan.source.path.name}: {line[:LINE_LENGTH]}"))

    heard("beginning")
    for command in commands(plan, folder):
        run(command, {**scrubbed(os.environ), "PYTHONNOUSERSITE": "1"}, heard, plan.source.path.parent)


def commands(plan: Plan, folder: Path) -> list[list[str]]:
    """The command lines, in their order."""
    place, source = str(folder), str(plan.source.path)
    if plan.source.origin is Origin.CONDA:
        if Path(plan.tool).name == "conda":
            return [[plan.tool, "env", "create", "--yes", "--prefix", place, "--file", source]]
        return [[plan.tool, "create", "--yes", "--prefix", place, "--file", source]]
    interpreter = f"{place}/bin/python"
    if plan.tool:
        # Copies, not links into uv's own cache, which another user may empty.
        install = [plan.tool, "pip", "install", "--link-mode", "copy", "--python", interpreter, "--requirements"]
        return [[plan.tool, "venv", "--python", plan.python, place], [*install, source]]
    install = [interpreter, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    return [[plan.python, "-m", "venv", place], [*install, "--requirement", source]]


def _text(path: Path, depth: int = 0) -> bytes:
    """The file and those that it includes (-r, -c): all that decides what is installed."""
    text = path.read_bytes()
    included = INCLUDES.findall(text) if depth < MAX_DEPTH else []
    files = (path.parent / os.fsdecode(name) for name in included)
    return b"\0".join([text, *(_text(file, depth + 1) for file in files if file.is_file())])


def _interpreter(wanted: str, uv: str, which: Callable[[str], str | None]) -> str:
    """The interpreter for a venv: the server's own, or the version that `.python-version` says."""
    if not wanted:
        return sys.executable
    if os.path.isabs(wanted):
        return wanted
    minor = ".".join(wanted.split(".")[:2])
    if found := which(f"python{minor}"):
        return found
    if uv:
        return wanted
    raise invalid(f"it asks for Python {wanted} (.python-version), and there is no python{minor} in PATH")


def _machine() -> bytes:
    return f"{platform.machine()} {platform.libc_ver()}".encode()
