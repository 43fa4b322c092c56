"""Runs an environment's interpreter once, before any model does, and says what it is or why it is of no use."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyserver.environment.children import die_with_parent
from pyserver.errors import ServerError, invalid

OLDEST = (3, 8)
CHECK_SECONDS = 120.0
"""A large environment on a cold disk takes its time; one that is broken fails at once."""

# Any Python, of whatever age, has to understand this, and answer even if it is of no use.
PROGRAM = """
import sys
said = {"version": "%d.%d.%d" % sys.version_info[:3], "platform": sys.platform, "numpy": "", "error": ""}
try:
    import json, platform
    said["platform"] = platform.platform()
    import numpy
    said["numpy"] = numpy.__version__
    numpy.zeros(1).sum()
except BaseException:
    import traceback
    said["error"] = "".join(traceback.format_exception_only(*sys.exc_info()[:2])).strip()
try:
    sys.stdout.write("\\n" + json.dumps(said))
except NameError:
    sys.stderr.write(said["error"])
    sys.exit(1)
"""

MACHINES = {3: "x86", 40: "arm", 62: "x86_64", 183: "aarch64", 21: "ppc64", 22: "s390x", 243: "riscv"}
MACH_O = (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xce\xfa\xed\xfe")


@dataclass(frozen=True, slots=True)
class Facts:
    """What an interpreter says of itself: versions as X.Y.Z, platform as `platform.platform()`."""

    interpreter: str
    version: str
    platform: str
    numpy: str

    def __str__(self) -> str:
        versions = f"Python {self.version or 'unknown'}, {self.platform or _here()}, numpy {self.numpy or 'none'}"
        return f"interpreter {self.interpreter} ({versions})"


def find(folder: Path) -> Path:
    """The interpreter in the environment `folder`; ServerError (INVALID_ARG) if it has none."""
    for name in ("python", "python3"):
        path = folder / "bin" / name
        if path.exists():
            return path
        if path.is_symlink():
            raise invalid(
                f"interpreter bin/{name} is a link to {os.readlink(path)}, which is not there: was it packed by"
                " venv-pack? Only conda-pack packs the interpreter too"
            )
    raise invalid(f"it has no interpreter bin/python: {_look(folder)}")


def _look(folder: Path) -> str:
    """What is there instead."""
    found = sorted(entry.name for entry in folder.iterdir())
    if len(found) == 1 and (folder / found[0] / "bin").is_dir():
        return f"its one folder '{found[0]}' has, so pack what is in that folder, not the folder"
    return f"expected a conda environment or a venv, found {', '.join(found[:8]) or 'nothing'}"


def check(interpreter: Path, variables: Mapping[str, str], timeout: float = CHECK_SECONDS) -> Facts:
    """Run `interpreter` and return its facts; ServerError (INVALID_ARG), with all of them, if it can't run models."""
    facts, error = ask(interpreter, variables, timeout)
    if error:
        raise _useless(facts, error)
    return facts


def ask(interpreter: Path, variables: Mapping[str, str], timeout: float = CHECK_SECONDS) -> tuple[Facts, str]:
    """What `interpreter` says of itself, and why numpy can't be imported, "" if it can.

    ServerError (INVALID_ARG) if it does not run at all, or is too old.
    """
    unknown = Facts(str(interpreter), "", "", "")
    try:
        done = subprocess.run(
            [str(interpreter), "-c", PROGRAM], env=dict(variables), stdin=subprocess.DEVNULL, capture_output=True,
            timeout=timeout, cwd="/", preexec_fn=die_with_parent,
        )  # fmt: skip
    except OSError as error:
        raise _useless(unknown, f"{error.strerror}: {_binary(interpreter)}") from None
    except subprocess.TimeoutExpired:
        raise _useless(unknown, f"it said nothing for {timeout:g} s") from None
    said = _said(done.stdout)
    if done.returncode != 0 or said is None:
        raise _useless(unknown, f"{_outcome(done.returncode)}: {_last_line(done.stderr)}")
    facts = Facts(str(interpreter), said["version"], said["platform"], said["numpy"])
    if tuple(map(int, facts.version.split(".")[:2])) < OLDEST:
        raise _useless(facts, f"Python {facts.version} is too old, expected {OLDEST[0]}.{OLDEST[1]} or newer")
    return facts, said["error"]


def _useless(facts: Facts, why: str) -> ServerError:
    return invalid(f"{facts} can't run models: {why}")


def _said(output: bytes) -> dict[str, str] | None:
    try:
        said = json.loads(output.rpartition(b"\n")[2])
    except ValueError:
        return None
    return said if isinstance(said, dict) and "version" in said else None


def _outcome(status: int) -> str:
    if status >= 0:
        return f"it ended with status {status}"
    try:
        return f"it was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"it was killed by signal {-status}"


def _last_line(stderr: bytes) -> str:
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "not found" in line]
    return (telling or lines or ["it said nothing"])[-1].strip()


def _binary(path: Path) -> str:
    """What kind of program a file is that the kernel does not run."""
    with path.open("rb") as file:
        head = file.read(20)
    if head.startswith(MACH_O):
        return "it is a program for macOS"
    if not head.startswith(b"\x7fELF"):
        return f"it is no program for Linux (it begins with {head[:4].hex() or 'nothing'})"
    number = int.from_bytes(head[18:20], "little" if head[5:6] == b"\1" else "big")
    return f"it is a program for {MACHINES.get(number, f'machine {number}')}, and this is {platform.machine()}"


def _here() -> str:
    return f"on {platform.platform()}"
