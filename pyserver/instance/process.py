"""A stub as the operating system sees it: forked or started, watched, ended with all that it started."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

from pyserver.instance.console import Console
from pyserver.instance.descendants import VARIABLE, kill_family, new_mark
from pyserver.instance.forkserver import ForkServers
from pyserver.instance.spec import InstanceSpec
from pyserver.types import Clock

FOREGROUND = "PYSERVER_FOREGROUND"
"""Set for a stub that has the terminal: it obeys Ctrl-C, and leaves its streams as they are."""

EXIT_CODE = 49
"""The last field of /proc/PID/stat (proc(5), number 52), counted from the state on."""


class Born(NamedTuple):
    """A process just started: the mark in its environment, its stdout and stderr, and what reaps it once it is dead.

    One that was started in the foreground has the server's streams, and is in its group.
    """

    pid: int
    mark: str
    streams: tuple[int, ...]
    reap: Callable[[], object]


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


async def bear(spec: InstanceSpec, fds: tuple[int, ...], fork_servers: ForkServers | None) -> Born:
    """A new process with copies of `fds`, in the order in which boot.py takes them. OSError if there can't be one."""
    mark = new_mark()
    environment = {**spec.environment, VARIABLE: mark}
    if spec.foreground:
        process = _popen(spec, {**environment, FOREGROUND: "1"}, fds)
        return Born(process.pid, mark, (), process.wait)
    out_reader, out_writer = os.pipe()
    err_reader, err_writer = os.pipe()
    forked = None
    try:
        if fork_servers is not None:
            theirs = (*fds, out_writer, err_writer)
            forked = await fork_servers.fork(spec.interpreter, spec.boot, environment, spec.title, theirs)
        if forked is None:
            process = _popen(spec, environment, fds, stdin=subprocess.DEVNULL, stdout=out_writer, stderr=err_writer)
    except BaseException:
        os.close(out_reader)
        os.close(err_reader)
        raise
    finally:
        os.close(out_writer)
        os.close(err_writer)
    pid, reap = forked or (process.pid, process.wait)
    return Born(pid, mark, (out_reader, err_reader), reap)


def _popen(
    spec: InstanceSpec, environment: dict[str, str], fds: tuple[int, ...], **streams: Any
) -> subprocess.Popen[bytes]:
    """The process; without `streams` it shares the server's.

    Always from the main thread: PR_SET_PDEATHSIG, which the stub sets, takes the death of the thread that started it
    for the death of its parent. `subprocess` uses vfork here: a server of many gigabytes starts it in a millisecond.
    """
    command = [spec.interpreter, spec.boot, *map(str, fds), spec.title]
    return subprocess.Popen(command, env=environment, pass_fds=fds, start_new_session=not spec.foreground, **streams)


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
