"""A stub as the operating system sees it: started with its descriptors, watched, ended with all that it started."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable

from pyserver.instance.console import Console
from pyserver.instance.spec import InstanceSpec
from pyserver.types import Clock


class StubProcess:
    """A running stub on the running loop; `on_exit` is called once, when it is dead and everything it printed is read.

    It leads a session of its own, so that nothing it starts outlives it: its process group is killed before it is
    reaped, while its number is certainly its own.
    """

    def __init__(self, spec: InstanceSpec, fds: tuple[int, ...], clock: Clock, on_exit: Callable[[], None]) -> None:
        """Start it with `fds`, in the order in which boot.py takes them. OSError if that fails."""
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._process, stdout, stderr = _start(spec, fds)
        labels = {"model": spec.model_name, "version": str(spec.version), "instance": spec.name}
        self.console = Console(stdout, stderr, labels, clock)
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._exited)

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not been reaped."""
        return self._process.returncode is None

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to it and to everything in its group."""
        if self.alive:
            try:
                os.killpg(self.pid, number)
            except (ProcessLookupError, PermissionError):
                pass

    def outcome(self) -> str:
        """How it ended, in words; a SIGKILL that nobody here sent is most often the kernel's, out of memory."""
        code = self._process.returncode
        if code is None:
            return "still running"
        if code >= 0:
            return f"exited with status {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.signal_group(signal.SIGKILL)
        self._process.wait()
        self.console.close()
        on_exit, self._on_exit = self._on_exit, _nothing  # who listened is held no longer
        on_exit()


def _nothing() -> None:
    pass


def _start(spec: InstanceSpec, fds: tuple[int, ...]) -> tuple[subprocess.Popen[bytes], int, int]:
    """The process, and the ends of its stdout and stderr to read from.

    Always from the main thread: PR_SET_PDEATHSIG, which the stub sets, takes the death of the thread that started it
    for the death of its parent. `subprocess` uses vfork here: a server of many gigabytes starts it in a millisecond.
    """
    out_reader, out_writer = os.pipe()
    err_reader, err_writer = os.pipe()
    try:
        process = subprocess.Popen(
            [spec.interpreter, spec.boot, *map(str, fds), spec.title],
            stdin=subprocess.DEVNULL,
            stdout=out_writer,
            stderr=err_writer,
            env=dict(spec.environment),
            pass_fds=fds,
            start_new_session=True,
        )
    except BaseException:
        os.close(out_reader)
        os.close(err_reader)
        raise
    finally:
        os.close(out_writer)
        os.close(err_writer)
    return process, out_reader, err_reader
