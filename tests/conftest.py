"""Real servers for the tests that need one, and the check that the suite leaves nothing behind."""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.repositories import MODELS
from tests.support.shared_memory import SharedMemory
from tests.support.twins import outdated
from tools import proc
from tools.process import ServerProcess, pyserver_command
from tools.triton import TritonServer

Serve = Callable[..., ServerProcess]

MARK = f"PYSERVER_TEST_SESSION={uuid.uuid4()}"
SERVERS = pytest.StashKey[dict[ServerProcess, int]]()
SHARED = pytest.StashKey[SharedMemory]()
LOG_LINES_SHOWN = 80
GRACE_SECONDS = 5
"""A process that was killed, and what it mapped, takes a moment to go."""

hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server", choices=("pyserver", "triton"), default="pyserver", help="whom the end-to-end tests talk to"
    )


def pytest_configure(config: pytest.Config) -> None:
    if old := outdated():
        raise pytest.UsageError(
            f"compiled from older sources: {', '.join(old)}; `make test` builds them, `make pure` goes without"
        )
    config.stash[SERVERS] = {}
    # Inherited by every process that a test starts: how the orphans among them are found.
    name, _, value = MARK.partition("=")
    os.environ[name] = value
    config.stash[SHARED] = SharedMemory(of_this_suite)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--server") == "triton":
        for item in items:
            if item.get_closest_marker("ours"):
                item.add_marker(pytest.mark.skip(reason="a promise of ours, not of Triton's"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers said during a test beside its failure."""
    report = yield
    servers = item.config.stash[SERVERS]
    if report.failed:
        for server, first in servers.items():
            said = server.lines[first:][-LOG_LINES_SHOWN:]
            report.sections.append((f"log of {server.name} ({report.when})", "\n".join(said)))
    if report.when == "teardown":
        servers.update({server: len(server.lines) for server in servers})
        item.config.stash[SHARED].look()  # who holds now what was made meanwhile
    return report


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Fail the suite for a process, a /dev/shm entry or a temporary file that it leaves; gives the servers' TMPDIR."""
    shared = request.config.stash[SHARED]
    with tempfile.TemporaryDirectory(prefix="pyserver-tests-") as folder:
        yield Path(folder)
        suspects = shared.look()  # what comes later is not ours
        deadline = time.monotonic() + GRACE_SECONDS
        while (found := left_behind(Path(folder), shared, suspects)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert found == []


def left_behind(folder: Path, shared: SharedMemory, suspects: list[Path]) -> list[str]:
    orphans = [pid for pid in proc.marked(MARK) if pid != os.getpid()]
    found = [f"process {pid}: {proc.command_line(pid)}" for pid in orphans]
    found += [str(entry) for entry in shared.look() if entry in suspects]
    return found + [str(entry) for entry in sorted(folder.rglob("*"))]


def of_this_suite(pid: int) -> bool:
    return proc.has_mark(pid, MARK) or proc.descends(pid, os.getpid())


@pytest.fixture(scope="session")
def make_server(request: pytest.FixtureRequest, nothing_left_behind: Path) -> Serve:
    """Makes a server, not started yet: `make_server(repository, ..., options=[...], env={...})`.

    With `start=True` it is `pyserver start` on one of MLServer's folders.
    """
    triton = request.config.getoption("--server") == "triton"

    def make(
        *repositories: Path, options: tuple[str, ...] = (), env: dict[str, str] | None = None, start: bool = False
    ) -> ServerProcess:
        if triton:
            server: ServerProcess = TritonServer(*repositories, options=options)
        else:
            server = ServerProcess(pyserver_command(*repositories, options=options, start=start), "pyserver")
        server.env.update({"TMPDIR": str(nothing_left_behind), **(env or {})})
        request.config.stash[SERVERS][server] = 0
        return server

    return make


@pytest.fixture(scope="module")
def server(make_server: Serve) -> Iterator[ServerProcess]:
    """A server on all of tests/models, shared by the tests of a module that leave it as it was."""
    with make_server(MODELS) as running:
        yield running


@pytest.fixture
def serve(request: pytest.FixtureRequest, make_server: Serve) -> Iterator[Serve]:
    """Starts a server for this test: as `make_server`, and `ready=False` for one that won't be. It has to end well."""
    with ExitStack() as stack:

        def start(*repositories: Path, ready: bool = True, **how: Any) -> ServerProcess:
            running = make_server(*repositories, **how)
            stack.callback(end, running, request.config.stash[SERVERS])
            return running.start(ready)

        yield start


def end(running: ServerProcess, servers: dict[ServerProcess, int]) -> None:
    """Stop a server that a test has not seen to its end itself."""
    if running.exited(0):
        running.kill()
    else:
        running.stop()
    servers.pop(running, None)
