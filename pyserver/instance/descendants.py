"""What a stub's model has started and nobody's process group holds any more: found by a mark in the environment.

A process that leaves its session (`setsid`, a daemon) is not reached by a signal to the stub's group, and once its
parent is dead nothing says whose it was, but for the environment that it was started with. One that cleared its
environment as well is not found.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "PYSERVER_STUB"
"""Set for every stub, to a value of its own; its descendants inherit it."""
_ROUNDS = 20


def kill_marked(value: str) -> int:
    """SIGKILL every process that was started with VARIABLE=`value`, until there is none; how many there were.

    It reads all of /proc, which takes milliseconds: not for the event loop.
    """
    entry = f"{VARIABLE}={value}".encode()
    killed: set[int] = set()
    for _ in range(_ROUNDS):  # one may fork while the others are looked at
        found = [pid for pid in _pids() if _kill_if(pid, entry)]
        if not found:
            break
        killed.update(found)
    return len(killed)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _kill_if(pid: int, entry: bytes) -> bool:
    """Kill `pid` if it carries the mark; the descriptor makes sure that it is the one that was looked at."""
    if not _carries(pid, entry):
        return False
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not _carries(pid, entry):
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def _carries(pid: int, entry: bytes) -> bool:
    """Whether the process lives and was started with `entry`; a zombie has no environment."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return entry in file.read().split(b"\0")
    except OSError:
        return False
