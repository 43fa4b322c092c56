"""A stub as the operating system sees it: watched, and ended with all that it started."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from pyserver.instance.birth import Born
from pyserver.instance.console import Console
from pyserver.instance.descendants import kill_family
from pyserver.instance.spec import InstanceSpec
from pyserver.types import Clock

EXIT_CODE = 49
"""The last field of /proc/PID/stat (proc(5), number 52), counted from the state on."""


class StubProcess:
    """A running stub on the running loop; `on_exit` is called once, when it is dead and everything it printed is read.

    It leads a session of its own, so that nothing it starts outlives it: its process group is killed before it is
    reaped, while its number is certainly its own, and what has left the group as well. In the foreground it stays in
    the server's group, which a terminal asks for, and prints for itself.
    """

    def __init__(self, born: Born, spec: InstanceSpec, clock: Clock, on_exit: Callable[[], None]) -> None:
        self.pid = born.pid
        """Its process id, and that of its group."""
        self._born = born
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._code: int | None = None
        self._foreground = spec.foreground
        labels = {"model": spec.model_name, "version": str(spec.version), "instance": spec.name}
        self.console = Console(labels, clock, *born.streams)
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._exited)
        RUNNING.add(self)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._code is None

    def terminate(self) -> None:
        """Ask it, and everything in its group, to end."""
        self._send(os.kill if self._foreground else os.killpg, signal.SIGTERM)

    def kill(self) -> None:
        """Kill it. Its family follows once it is dead, in an order that lets a resource tracker clean up after it."""
        self._send(os.kill, signal.SIGKILL)

    def show_stacks(self) -> None:
        """Let it write where each of its threads is to its stderr, even if it is stuck in compiled code."""
        if self.alive:
            os.kill(self.pid, signal.SIGUSR1)

    def outcome(self) -> str:
        """How it ended, in words; a SIGKILL that nobody here sent is most often the kernel's, out of memory."""
        code = self._code
        if code is None:
            return "still running"
        if code >= 0:
            return f"exited with status {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")

    def _send(self, how: Callable[[int, int], None], number: signal.Signals) -> None:
        if self.alive:
            try:
                how(self.pid, number)
            except (ProcessLookupError, PermissionError):
                pass

    def _exited(self) -> None:
        RUNNING.discard(self)
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._code, group = _end_of(self.pid)
        family = self._loop.run_in_executor(None, kill_family, 0 if self._foreground else group, self._born.mark)
        family.add_done_callback(lambda _: self._born.reap())
        self.console.close()
        on_exit, self._on_exit = self._on_exit, _nothing  # who listened is held no longer
        on_exit()


def _nothing() -> None:
    pass


RUNNING: set[StubProcess] = set()
"""Every stub of this server that has not been reaped."""


def show_all_stacks() -> None:
    """Let every stub, also one that still loads, write its threads' stacks to the log."""
    for process in RUNNING:
        process.show_stacks()


def _end_of(pid: int) -> tuple[int, int]:
    """How dead process `pid` ended, as `subprocess` says it, and its group, 0 if that may be somebody else's by now.

    It is a zombie, of this process or of a fork server; if that is dead as well it has been reaped by somebody else.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return -signal.SIGKILL, 0
    return os.waitstatus_to_exitcode(int(fields[EXIT_CODE])), pid
