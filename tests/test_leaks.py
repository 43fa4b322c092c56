"""The suite's own check of /dev/shm: what a process of the suite leaves there is found, what others have is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MARK, Serve, of_this_suite
from tests.support.repositories import CONSTANT_CONFIG, write_model
from tests.support.shared_memory import FOLDER, SharedMemory
from tools import proc

LEAVES = """
import multiprocessing


class TritonPythonModel:
    def initialize(self, args):
        self.lock = multiprocessing.get_context("spawn").Lock()
        with open("/dev/shm/{name}", "w") as file:
            file.write("left")
        print("made", self.lock._semlock.name, flush=True)

    def execute(self, requests):
        raise AssertionError("nobody asks")
"""
HOLDS = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
file = open(sys.argv[1], "w")
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def left() -> Iterator[list[Path]]:
    """Entries that the test removes when it is done."""
    paths: list[Path] = []
    yield paths
    for path in paths:
        path.unlink(missing_ok=True)


@pytest.fixture
def name(left: list[Path]) -> str:
    left.append(FOLDER / f"pyserver-tests-{os.getpid()}-{os.urandom(4).hex()}")
    return left[0].name


def test_what_a_stub_leaves_is_found(serve: Serve, tmp_path: Path, name: str, left: list[Path]) -> None:
    """A file that it closed at once, and a semaphore; while it lives, and when nobody is left to remove them."""
    shared = SharedMemory(of_this_suite)
    write_model(tmp_path, "leaves", LEAVES.replace("{name}", name), CONSTANT_CONFIG)
    server = serve(tmp_path)
    left.append(FOLDER / f"sem.{server.wait_log('made /mp-').split()[-1][1:]}")
    assert set(left) <= set(shared.look())
    os.kill(server.pid, signal.SIGSTOP)
    (stub,) = proc.stubs(server.pid)
    for pid in reversed(proc.tree(stub)):  # its resource tracker would remove the semaphore
        os.kill(pid, signal.SIGKILL)
    server.kill()
    assert all(path.exists() for path in left)
    assert set(left) <= set(shared.look())
    left[1].unlink()
    assert left[0] in shared.look()
    assert left[1] not in shared.look()


def test_what_another_program_holds_is_its_own_for_good(left: list[Path], name: str) -> None:
    shared = SharedMemory(of_this_suite)
    mark = MARK.partition("=")[0]
    environment = {key: value for key, value in os.environ.items() if key != mark}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(left[0])], env=environment, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        other = int(starter.stdout.readline())
        try:
            assert left[0] not in shared.look()
        finally:
            os.kill(other, signal.SIGKILL)
    assert left[0].exists()
    assert left[0] not in shared.look()
    left[0].unlink()
    left[0].touch()
    assert left[0] in shared.look(), "a new one of that name is somebody else's, perhaps ours"


def test_what_was_there_before_is_not_ours(left: list[Path], name: str) -> None:
    left[0].touch()
    assert left[0] not in SharedMemory(of_this_suite).look()
