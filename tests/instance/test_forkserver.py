"""Real fork servers, whose forks are real stubs that nobody gives a model."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from pyserver.instance.descendants import VARIABLE
from pyserver.instance.forkserver import Forked, ForkServers
from pyserver.instance.spec import BOOT
from pyserver.ipc import arena, channel, messages
from pyserver.ipc.channel import Channel
from tests.instance.conftest import children, descriptors

PATIENCE = 30.0


class Nursery:
    """Fork servers, and what was forked by them: a process, and this end of its channel."""

    def __init__(self, linger: float) -> None:
        self.servers = ForkServers(linger)
        self.forks: dict[int, tuple[Forked, socket.socket]] = {}

    async def fork(self, mark: str = "1.aa", interpreter: str = sys.executable, **environment: str) -> int:
        """The process id of a new fork; 0 if there is none."""
        here, there = channel.pair()
        calls, theirs = channel.pair()
        memory = [arena.create(name) for name in ("requests", "responses")]
        null = os.open(os.devnull, os.O_WRONLY)
        variables = {"PATH": os.environ["PATH"], **environment, VARIABLE: mark}
        fds = (there.fileno(), *memory, theirs.fileno(), null, null)
        forked = None
        try:
            forked = await self.servers.fork(interpreter, BOOT, variables, "pyserver: m/1 m_0", fds)
        finally:
            for fd in (*memory, null):
                os.close(fd)
            for end in (there, calls, theirs, *([] if forked else [here])):
                end.close()
        if forked is None:
            return 0
        self.forks[forked.pid] = forked, here
        return forked.pid

    async def hello(self, pid: int) -> bytes:
        """The first thing that `pid` says; b"" if it ends instead."""
        here = Channel(self.forks[pid][1])
        loop = asyncio.get_running_loop()
        heard = loop.create_future()
        loop.add_reader(here.fileno(), lambda: heard.done() or heard.set_result(here.receive()))
        try:
            return await asyncio.wait_for(heard, PATIENCE)
        finally:
            loop.remove_reader(here.fileno())

    async def end(self, pid: int) -> None:
        """As a server does: the channel is closed, and once the fork is dead it is reaped."""
        forked, here = self.forks.pop(pid)
        here.close()
        await until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        forked.reap()
        await until(lambda: not psutil.pid_exists(pid))


async def until(condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


@pytest.fixture
async def nursery(request: pytest.FixtureRequest) -> AsyncIterator[Nursery]:
    before = descriptors()
    nursery = Nursery(getattr(request, "param", PATIENCE))
    yield nursery
    for pid in list(nursery.forks):
        await nursery.end(pid)
    nursery.servers.close()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert children() == []
    assert descriptors() == before


async def test_a_fork_is_a_stub_of_its_own(nursery: Nursery) -> None:
    pid = await nursery.fork("1.ab")
    (kind, body), *_ = messages.from_stub(await nursery.hello(pid))
    said = messages.unpack_json(body)
    assert (kind, said["pid"], said["numpy"]) == (messages.HELLO, pid, np.__version__)
    assert f"{VARIABLE}=1.ab" in Path(f"/proc/{pid}/environ").read_text().split("\0")
    assert Path(f"/proc/{pid}/cmdline").read_text().strip(" \0").endswith("\0pyserver: m/1 m_0")
    assert os.getsid(pid) == os.getpgid(pid) == pid


async def test_forks_with_one_environment_have_one_parent(nursery: Nursery) -> None:
    first, second, other = [
        psutil.Process(await nursery.fork(mark, OMP_NUM_THREADS=threads)).ppid()
        for mark, threads in (("1.aa", "1"), ("1.ab", "1"), ("1.ac", "2"))
    ]
    assert first == second != other


async def test_a_fork_server_that_died_is_replaced(nursery: Nursery) -> None:
    pid = await nursery.fork()
    await nursery.hello(pid)
    parent = psutil.Process(pid).ppid()
    os.kill(parent, signal.SIGKILL)
    assert await nursery.hello(pid) == b"", "the kernel ends its forks"
    replaced = await nursery.fork() or await nursery.fork()
    assert psutil.Process(replaced).ppid() != parent


@pytest.mark.parametrize("nursery", [0.0], indirect=True)
async def test_it_ends_with_its_last_fork(nursery: Nursery) -> None:
    pids = [await nursery.fork(), await nursery.fork()]
    await nursery.end(pids[0])
    assert len(children()) == 2
    await nursery.end(pids[1])
    await until(lambda: children() == [])


async def test_it_stays_for_a_while_without_forks(nursery: Nursery) -> None:
    first = await nursery.fork()
    parent = psutil.Process(first).ppid()
    await nursery.end(first)
    assert psutil.Process(await nursery.fork()).ppid() == parent


async def test_a_fork_that_nobody_waits_for_any_more_is_killed(nursery: Nursery) -> None:
    asking = asyncio.ensure_future(nursery.fork())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait((asking,))
    assert asking.cancelled()
    second = await nursery.fork()
    await until(lambda: psutil.Process(psutil.Process(second).ppid()).children() == [psutil.Process(second)])


async def test_a_replaced_interpreter_is_seen(nursery: Nursery, tmp_path: Path) -> None:
    """What was imported before would be mixed with what is imported now."""
    interpreter = tmp_path / "python"
    shutil.copy(os.path.realpath(sys.executable), interpreter)
    home = {"PYTHONHOME": sys.base_prefix, "PYTHONPATH": str(Path(np.__file__).parents[1])}
    old = await nursery.fork(interpreter=str(interpreter), **home)
    os.utime(interpreter, (1, 1))
    new = await nursery.fork("1.ab", str(interpreter), **home)
    parents = [psutil.Process(pid).ppid() for pid in (old, new)]
    assert old
    assert new
    assert parents[0] != parents[1], "and the old one lives as long as its fork does"


@pytest.mark.parametrize("interpreter", ["/bin/false", "/nowhere/python"])
async def test_what_cannot_be_forked_is_none(nursery: Nursery, interpreter: str) -> None:
    assert await nursery.fork(interpreter=interpreter) == 0
