"""The start of a real server, on a terminal (a pty) and without one; the line to try works."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.repositories import copy_model, write_constant, write_model
from tools.process import pyserver_command

MOVES = re.compile(r"\x1b\[(\d+)F\x1b\[J")
COLOURS = re.compile(r"\x1b\[\d*m")
SLOW = """
import sys, time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        time.sleep(0.5)
        print("said while it loads", flush=True)
        print("and to stderr", file=sys.stderr, flush=True)

    def execute(self, requests):
        return []
"""
CONFIG = 'backend: "python"\ninput { name: "X" data_type: TYPE_FP32 dims: [ 1000 ] }\n'


class Terminal:
    """A server on a pty, and what a terminal would show of it."""

    def __init__(self, repository: Path, *options: str, env: dict[str, str] | None = None) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        usual = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            pyserver_command(repository, options=options),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env={**usual, "TERM": "xterm", **(env or {})},
            start_new_session=True,
        )
        os.close(theirs)
        self._fd = ours
        self.raw = ""

    def wait(self, text: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while text not in self.raw and time.monotonic() < until and self._read(0.1):
            pass
        assert text in self.raw, self.raw

    def _read(self, seconds: float) -> bool:
        if select.select([self._fd], [], [], seconds)[0]:
            try:
                data = os.read(self._fd, 65536)
            except OSError:  # EIO: nobody has it open any more
                return False
            self.raw += data.decode()
            return bool(data)
        return True

    @property
    def shown(self) -> list[str]:
        """The lines that are left, without colours."""
        lines: list[str] = []
        at = 0
        for move in [*MOVES.finditer(self.raw), None]:
            text = self.raw[at : move.start() if move else len(self.raw)]
            lines += [COLOURS.sub("", line) for line in text.split("\r\n")[: -1 if move else None]]
            if move:
                del lines[len(lines) - int(move[1]) :]
                at = move.end()
        return lines

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        while self._read(5) and self.process.poll() is None:
            pass
        return self.process.wait(20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._fd)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    made: list[Terminal] = []
    yield made
    for each in made:
        each.close()


def test_a_table_that_fills(terminals: list[Terminal], tmp_path: Path) -> None:
    write_constant(tmp_path, "constant")
    write_model(tmp_path, "slow", SLOW, CONFIG + "instance_group { count: 2 kind: KIND_CPU }")
    terminal = Terminal(tmp_path)
    terminals.append(terminal)
    terminal.wait("try")
    terminal.wait("/infer")
    assert "1 of 2 models ready" in terminal.raw
    assert "\x1b[33mLOADING\x1b[0m" in terminal.raw
    lines = terminal.shown
    at = next(number for number, line in enumerate(lines) if line.startswith("MODEL"))
    assert re.fullmatch(r"MODEL +VERSION +STATE +INSTANCES +ENVIRONMENT +SECONDS", lines[at])
    assert re.fullmatch(r"constant +1 +READY +1 +Python 3\.\d+\.\d+ +\d+\.\d\d", lines[at + 1])
    assert re.fullmatch(r"slow +1 +READY +2 +Python 3\.\d+\.\d+ +\d+\.\d\d", lines[at + 2])
    assert sum(line.startswith("MODEL") for line in lines) == 1
    assert "models ready" not in "\n".join(lines)
    assert sum("said while it loads" in line for line in lines) == 2
    text = "\n".join(lines)
    for service in ("HTTPService", "GRPCInferenceService", "Metrics Service"):
        assert re.search(rf"^{service} at 127\.0\.0\.1:\d+$", text, re.M)
    assert "only this machine can connect" in text
    assert terminal.stop() == 0


def test_a_model_that_fails_is_seen_to(terminals: list[Terminal], tmp_path: Path) -> None:
    write_constant(tmp_path, "constant")
    write_model(tmp_path, "broken", "raise ValueError('no\\x1b[31mgood')", CONFIG)
    terminal = Terminal(tmp_path, "--exit-on-error=false", env={"NO_COLOR": "1"})
    terminals.append(terminal)
    terminal.wait("/infer")
    broken = next(line for line in terminal.shown if line.startswith("broken"))
    assert "UNAVAILABLE" in broken
    assert any("failed to load 'broken'" in line for line in terminal.shown)
    assert "\x1b[31m" not in terminal.raw
    assert terminal.stop() == 0


def test_a_terminal_that_can_not_move(terminals: list[Terminal], tmp_path: Path) -> None:
    write_constant(tmp_path, "constant")
    terminal = Terminal(tmp_path, env={"TERM": "dumb"})
    terminals.append(terminal)
    terminal.wait("/infer")
    assert "\x1b" not in terminal.raw
    assert any(line.startswith("constant") for line in terminal.shown)
    assert terminal.stop() == 0


def test_lines_without_a_terminal(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "constant")
    server = serve(tmp_path)
    line = server.wait_log("model 'constant' version 1: READY")
    assert re.search(r"READY, 1 instance, Python 3\.\d+\.\d+, loaded in \d+\.\d\d s$", line)
    server.wait_log("only this machine can connect")
    assert "\x1b" not in server.log


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_line_to_try_works(serve: Serve, tmp_path: Path) -> None:
    copy_model(tmp_path, "batching")
    answer = tried(serve, tmp_path)
    assert answer["model_name"] == "batching"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_there_is_a_line_for_models_that_take_more(serve: Serve, tmp_path: Path) -> None:
    write_model(tmp_path, "large", SLOW, CONFIG)
    assert tried(serve, tmp_path)["name"] == "large"


def tried(serve: Serve, repository: Path) -> dict[str, object]:
    server = serve(repository)
    command = server.wait_log("try: curl").partition("try: ")[2]
    done = subprocess.run([*shlex.split(command), "-s", "-f"], capture_output=True, timeout=20)
    assert done.returncode == 0, (command, done)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_it_says_who_can_connect(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "constant")
    server = serve(tmp_path, options=("--http-address", "0.0.0.0"))
    line = server.wait_log("can reach this machine")
    assert line.endswith("everybody who can reach this machine can connect: bound to 0.0.0.0")
    assert "http://127.0.0.1:" in server.wait_log("try: curl")
