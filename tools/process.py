"""A real server as a child process: started on free ports, waited for, read, and stopped.

The tests, the benchmarks and the demo all start their servers here.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from tools import proc

STARTED = re.compile(r"Started (HTTPService|GRPCInferenceService|Metrics Service) at ([^\s\"]+:\d+)")
SERVICES = ("HTTPService", "GRPCInferenceService", "Metrics Service")
POLL_SECONDS = 0.02


class ServerProcessError(Exception):
    """The server ended, or did not do in time what it was waited for; the message closes with its last lines."""


def pyserver_command(*repositories: Path, options: Sequence[str] = (), start: bool = False) -> list[str]:
    """The command line of our own server on `repositories`, on ports of its own choice; `start` takes one of
    MLServer's.
    """
    command = [sys.executable, "-m", "pyserver"]
    if start:
        command += ["start", *map(str, repositories)]
    for repository in () if start else repositories:
        command += ["--model-repository", str(repository)]
    for service in ("http", "grpc", "metrics"):
        command += [f"--{service}-address", "127.0.0.1", f"--{service}-port", "0"]
    return [*command, *options]


class ServerProcess:
    """A server that runs `command` from `start` until `stop` or `kill`; also a context manager over these.

    It leads a session of its own, so that a Ctrl-C meant for us does not reach it. Its output is kept in `lines`, and
    read for the addresses it listens at.
    """

    def __init__(
        self,
        command: Sequence[str],
        name: str = "server",
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd
        self.lines: list[str] = []
        self.addresses: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None
        self._said = threading.Condition()
        self._terminated = False
        self._reader = threading.Thread(target=self._read, name=f"log of {name}", daemon=True)

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()

    def launch(self) -> ServerProcess:
        """Start the process and wait for nothing."""
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.env,
            cwd=self.cwd,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        self._reader.start()
        return self

    def start(self, ready: bool = True, timeout: float = 60) -> ServerProcess:
        """Start the process and wait, `timeout` seconds at most, until it listens and, if asked, is ready."""
        self.launch()
        try:
            self.wait_listening(timeout)
            if ready:
                self.wait_ready(timeout)
        except BaseException:
            self.kill()
            raise
        return self

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    @property
    def http(self) -> str:
        """HOST:PORT of the HTTP service."""
        return self.addresses["HTTPService"]

    @property
    def grpc(self) -> str:
        """HOST:PORT of the gRPC service."""
        return self.addresses["GRPCInferenceService"]

    @property
    def metrics(self) -> str:
        """HOST:PORT of the metrics service."""
        return self.addresses["Metrics Service"]

    def wait_listening(self, timeout: float = 60) -> None:
        """Wait until all three services have said where they listen."""
        self._wait(lambda: all(service in self.addresses for service in SERVICES), timeout, "to listen")

    def wait_log(self, text: str, timeout: float = 20) -> str:
        """Wait until the server has logged a line with `text`, and return it."""
        self._wait(lambda: any(text in line for line in self.lines), timeout, f"to log {text!r}")
        return next(line for line in self.lines if text in line)

    def wait_lines(self, count: int, *texts: str, timeout: float = 20) -> list[str]:
        """Wait until the server has logged `count` lines with all of `texts`; all such lines, should they be more.

        What a model prints comes by another way than its answers, so a test that has these may be ahead of the log.
        """

        def found() -> list[str]:
            return [line for line in list(self.lines) if all(text in line for text in texts)]

        self._wait(lambda: len(found()) >= count, timeout, f"to log {count} lines with {texts}")
        return found()

    def wait_ready(self, timeout: float = 60) -> None:
        """Wait until the server says that it is ready."""
        self.wait_until(self.is_ready, timeout, "to be ready")

    def wait_until(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Ask `condition` over and over until it holds; ServerProcessError if the server ends or time is up first."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.exited(POLL_SECONDS):
                raise ServerProcessError(self._complaint(f"ended while it was waited for {what}"))
            if time.monotonic() > deadline:
                raise ServerProcessError(self._complaint(f"took more than {timeout} s {what}"))

    def is_ready(self) -> bool:
        """Whether /v2/health/ready answers 200."""
        return self.get("/v2/health/ready")[0] == 200

    def get(self, path: str, address: str | None = None, timeout: float = 10) -> tuple[int, bytes]:
        """GET `path`: status and body; status 0 if nothing answers. `address` is the HTTP service's by default."""
        try:
            with urllib.request.urlopen(f"http://{address or self.http}{path}", timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the metric's samples that carry all `labels`."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = self.get("/metrics", self.metrics)[1].decode().splitlines()
        samples = [line for line in lines if line.startswith((name + "{", name + " "))]
        return sum(float(line.rpartition(" ")[2]) for line in samples if all(label in line for label in wanted))

    def exited(self, timeout: float) -> bool:
        """Whether the process has ended, or does within `timeout` seconds."""
        assert self.process is not None, f"{self.name} was not started"
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def terminate(self) -> None:
        """Send SIGTERM and wait for nothing."""
        self._terminated = True
        os.kill(self.pid, signal.SIGTERM)

    def stop(self, timeout: float = 40) -> None:
        """SIGTERM, unless it was sent, and a clean end: exit code 0 in `timeout` seconds, no descendant left."""
        family = proc.tree(self.pid)
        if not self.exited(0) and not self._terminated:
            self.terminate()
        if not self.exited(timeout):
            self.kill()
            raise ServerProcessError(self._complaint(f"did not end within {timeout} s of SIGTERM"))
        self._close()
        assert self.process is not None
        if self.process.returncode != 0:
            raise ServerProcessError(self._complaint(f"ended with exit code {self.process.returncode}, expected 0"))
        left = [pid for pid in family if proc.alive(pid)]
        if left:
            raise ServerProcessError(
                self._complaint(f"left processes behind: {[proc.command_line(pid) for pid in left]}")
            )

    def kill(self) -> None:
        """SIGKILL, if it still runs; its log is read to the end."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self._close()

    @property
    def log(self) -> str:
        """All that the server has printed so far."""
        return "\n".join(self.lines)

    def _close(self) -> None:
        # A descendant that outlives the server keeps the pipe open: it is found by other means, don't wait for it.
        self._reader.join(timeout=5)
        if self.process is not None and self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                for service, address in STARTED.findall(line):
                    self.addresses[service] = address
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def _wait(self, said: Callable[[], bool], timeout: float, what: str) -> None:
        with self._said:
            self._said.wait_for(lambda: said() or not self._reader.is_alive() or self.exited(0), timeout)
            if not said():
                verb = "ended while" if self.exited(0) else f"took more than {timeout} s:"
                raise ServerProcessError(self._complaint(f"{verb} it was waited for {what}"))

    def _complaint(self, what: str) -> str:
        return "\n".join([f"{self.name} {what}; its last lines:", *self.lines[-40:]])


class ForeignProcess(ServerProcess):
    """A server of others: how it ends is not our concern, that it ends with all its processes is."""

    def stop(self, timeout: float = 10) -> None:
        """SIGTERM, and after `timeout` seconds SIGKILL for whatever is left of its process tree."""
        family = proc.tree(self.pid)
        self.terminate()
        self.exited(timeout)
        self.kill()
        for pid in filter(proc.alive, family):
            os.kill(pid, signal.SIGKILL)
