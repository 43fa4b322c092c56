"""What a server does first: it starts the process that its models' processes are forked from."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.repositories import CONSTANT, CONSTANT_CONFIG, write_constant, write_model
from tools import proc

pytestmark = pytest.mark.ours

PATIENCE = 10.0
MARK = "PYSERVER_TEST_HEAD_START"
TWO_INSTANCES = CONSTANT_CONFIG + "instance_group { count: 2 }\n"


def test_models_are_forked_from_the_process_that_was_started_first(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "one", 1)
    write_constant(tmp_path, "two", 2)
    server = serve(tmp_path)
    (parent,) = proc.fork_servers(server.pid)
    assert {proc.parent(stub) for stub in proc.stubs(server.pid)} == {parent}


def test_a_fork_server_that_no_model_needs_ends(serve: Serve, tmp_path: Path) -> None:
    """Instances that share the CPUs are of another kind."""
    write_model(tmp_path, "two", CONSTANT.format(value=1), TWO_INSTANCES)
    server = serve(tmp_path)
    stubs = proc.stubs(server.pid)
    assert len(stubs) == 2
    server.wait_until(
        lambda: proc.fork_servers(server.pid) == [proc.parent(stubs[0])], PATIENCE, "to end what it doesn't need"
    )


@pytest.mark.parametrize("options", [("--model-control-mode", "explicit"), ("--fork-stubs=false",)])
def test_a_server_that_forks_nothing_has_no_fork_server(serve: Serve, tmp_path: Path, options: tuple[str, ...]) -> None:
    write_constant(tmp_path, "one", 1)
    assert proc.fork_servers(serve(tmp_path, options=options).pid) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_is_killed_while_it_starts_leaves_nothing(
    make_server: Serve, tmp_path: Path, number: signal.Signals
) -> None:
    write_constant(tmp_path, "one", 1)
    marks = []
    for milliseconds in (10, 40, 70, 100, 150, 200):
        marks.append(f"{MARK}={uuid.uuid4()}")
        server = make_server(tmp_path, env=dict([marks[-1].split("=")]))
        server.launch()
        time.sleep(milliseconds / 1000)
        os.kill(server.pid, number)
        assert server.exited(PATIENCE)
        server.kill()
    deadline = time.monotonic() + PATIENCE
    while left := [pid for mark in marks for pid in proc.marked(mark)]:
        assert time.monotonic() < deadline, [proc.command_line(pid) for pid in left]
        time.sleep(0.01)
