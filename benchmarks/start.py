"""How long a server takes to be ready with so many models, and what memory it then holds."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from compileall import compile_dir
from pathlib import Path

import pyserver
from benchmarks.peers import MODELS
from benchmarks.report import Figure, Start
from tools import proc
from tools.process import ServerProcess, pyserver_command
from tools.triton import TritonServer

SERVERS = ("pyserver", "triton")


def measure_start(names: list[str], models: int, rounds: int) -> Figure:
    """Start each server `rounds` times, in turns, on a repository of `models` models."""
    able = [name for name in dict.fromkeys(names) if name in SERVERS]
    compile_dir(Path(pyserver.__file__).parent, quiet=1)  # byte code, as an installation has, and as the peers have
    samples: dict[str, list[Start]] = {name: [] for name in able}
    with tempfile.TemporaryDirectory(prefix="bench-start-") as folder:
        for number in range(models):
            shutil.copytree(MODELS / "identity_fp32", Path(folder, f"model_{number}"))
        for round_number in range(rounds):
            for name in able:
                print(f"start-{models}: {name}, round {round_number + 1}", file=sys.stderr, flush=True)
                samples[name].append(start_once(name, Path(folder)))
    notes = [f"{name} is not started on this repository" for name in names if name not in SERVERS]
    what = "1 Python model" if models == 1 else f"{models} Python models, one process each"
    title = f"From start to ready with {what}; memory (PSS) of the process tree then"
    return Figure(f"start-{models}", title, samples, notes)


def start_once(name: str, repository: Path) -> Start:
    """One start and stop."""
    server: ServerProcess
    server = TritonServer(repository) if name == "triton" else ServerProcess(pyserver_command(repository), name)
    began = time.monotonic()
    with server:
        return Start(time.monotonic() - began, proc.tree_pss_bytes(server.pid))
