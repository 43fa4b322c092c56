"""What others see of a forked process: /proc shows its parent's arguments and environment, until it writes there.

They lie in the process's own memory, as the kernel put them there when the parent was started.
"""

from __future__ import annotations

import os

ARGUMENTS = 48
"""The field of /proc/PID/stat (proc(5)) where the arguments begin; the next one is where they end."""
ENVIRONMENT = 50


def show_variable(name: str, old: str, new: str) -> None:
    """Let /proc/PID/environ say NAME=`new` where it says NAME=`old`, which is of the same length."""
    _replace(ENVIRONMENT, f"{name}={old}\0".encode(), f"{name}={new}\0".encode())


def show_title(old: str, new: str) -> None:
    """Let ps show `new` in the place of the argument `old`, as much of it as has room there."""
    room = old.encode()
    _replace(ARGUMENTS, room + b"\0", new.encode()[: len(room)].ljust(len(room)) + b"\0")


def _replace(field: int, old: bytes, new: bytes) -> None:
    """Best effort: what is seen is a convenience, and a kernel may refuse."""
    try:
        with open("/proc/self/stat", "rb") as file:
            numbers = file.read().rpartition(b")")[2].split()
        start, end = int(numbers[field - 3]), int(numbers[field - 2])
        fd = os.open("/proc/self/mem", os.O_RDWR)
    except (OSError, IndexError, ValueError):
        return
    try:
        at = os.pread(fd, end - start, start).find(old)
        if at >= 0:
            os.pwrite(fd, new, start + at)
    except OSError:
        pass
    finally:
        os.close(fd)
