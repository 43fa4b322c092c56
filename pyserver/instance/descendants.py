"""What a stub's model has started and nobody's process group holds any more: found by a mark in the environment.

A process that leaves its session (`setsid`, a daemon) is not reached by a signal to the stub's group, and once its
parent is dead nothing says whose it was, but for the environment that it was started with. One that cleared its
environment as well is not found.
"""

from __future__ import annotations

import os
import signal
import time

VARIABLE = "PYSERVER_STUB"
"""Set for every stub, to a value of its own; its descendants inherit it."""
TRACKER = b"multiprocessing.resource_tracker"
"""A process of Python's that removes the semaphores and shared memory of its family, once that is gone: it may."""
_PATIENCE = 5.0
"""Seconds that a tracker gets: on a busy machine it may need more than one to wake up and clean."""
_PAUSE = 0.02
_ROUNDS = 20


def new_mark() -> str:
    """A value of VARIABLE that no other stub of this machine has; all of one server's are of one length."""
    return f"{os.getpid()}.{os.urandom(8).hex()}"


def kill_family(group: int, value: str) -> None:
    """SIGKILL everything in process group `group` (0 for none) or started with VARIABLE=`value`, until nothing is left.

    The group's leader is dead, and not reaped, so that its number is nobody else's. This reads all of /proc, more than
    once, and takes milliseconds: not for the event loop.
    """
    entry = f"{VARIABLE}={value}".encode()
    for _ in range(_ROUNDS):  # one may fork while the others are looked at
        if not [pid for pid in _family(group, entry) if not _is_tracker(pid) and _kill_if(pid, group, entry)]:
            break
    deadline = time.monotonic() + _PATIENCE
    while (trackers := _family(group, entry)) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    for pid in trackers:
        _kill_if(pid, group, entry)


def _family(group: int, entry: bytes) -> list[int]:
    return [pid for pid in _pids() if _belongs(pid, group, entry)]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _kill_if(pid: int, group: int, entry: bytes) -> bool:
    """Kill `pid` if it belongs to the family; the descriptor makes sure that it is the one that was looked at."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not _belongs(pid, group, entry):
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def _belongs(pid: int, group: int, entry: bytes) -> bool:
    """Whether the process lives, and is in the group or was started with `entry`; a zombie has no environment."""
    if entry in _read(pid, "environ").split(b"\0"):
        return True
    state = _read(pid, "stat").rpartition(b")")[2].split()
    return bool(group) and len(state) > 2 and state[2] == b"%d" % group and state[0] not in (b"Z", b"X")


def _is_tracker(pid: int) -> bool:
    return TRACKER in _read(pid, "cmdline")


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""
