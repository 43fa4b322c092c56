"""Programs that a preparation runs: they end with it, and what they say is read."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pyserver.errors import ServerError, internal

PR_SET_PDEATHSIG = 1
LINES_KEPT = 5

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Let the kernel end this process when the thread that started it does; for `preexec_fn`."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def run(
    command: Sequence[str | Path],
    variables: Mapping[str, str],
    heard: Callable[[str], None] | None = None,
    folder: Path = Path("/"),
    name: str = "",
) -> None:
    """Run `command` in `folder` to its end, its lines told to `heard`; ServerError (INTERNAL) if it fails."""
    name = name or os.path.basename(command[0])
    try:
        process = subprocess.Popen(
            list(map(str, command)), env=dict(variables), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", cwd=folder, preexec_fn=die_with_parent,
        )  # fmt: skip
    except OSError as error:
        raise internal(f"{name} can't be started: {error}") from None
    last: list[str] = []
    with process:
        assert process.stdout is not None
        for line in filter(str.strip, process.stdout):
            last = [*last[1 - LINES_KEPT :], line.strip()]
            if heard is not None:
                heard(line.strip())
    if process.returncode != 0:
        raise failed(name, process.returncode, last)


def failed(name: str, status: int, last: Sequence[str]) -> ServerError:
    """The error for a program that ended with `status` and said `last`."""
    return internal(f"{name} ended with status {status}: " + " | ".join(last or ["it said nothing"]))
