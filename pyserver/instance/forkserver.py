"""Fork servers, seen from the server: one for each interpreter with an environment, started with its first stub.

A stub that is forked from one is there at once, and shares the memory of Python, numpy and the stub's own code with the
others. The fork server is the parent that reaps it; should it die, the kernel ends its stubs, and they are restarted.
"""

from __future__ import annotations

import array
import asyncio
import errno
import logging
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pyserver.instance import forkprocess
from pyserver.instance.descendants import VARIABLE
from pyserver.instance.forkprocess import ForkProcess, Kind
from pyserver.ipc import forking

log = logging.getLogger(__name__)

LINGER = 60.0
"""Seconds that one stays without a stub: whoever dies, or is loaded again, soon needs it."""
PATIENCE = 60.0
"""Seconds for the answer to an order: at first it imports numpy, on a cold disk and under load."""
EXIT_SECONDS = 5.0


class Forked(NamedTuple):
    """A stub's process id, and what has it reaped once it is dead."""

    pid: int
    reap: Callable[[], None]


class ForkServer:
    """One process, on the running loop. It ends `linger` seconds after its last stub."""

    def __init__(self, begun: ForkProcess, linger: float) -> None:
        self._process = begun.process
        self._sock = begun.sock
        self._linger = linger
        self._stubs = 0  # that live, or are asked for
        self._rest: asyncio.TimerHandle | None = None
        self._orders: deque[asyncio.Future[int]] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock, self._on_answer)

    @property
    def alive(self) -> bool:
        """Whether orders reach it, as far as is known."""
        return self._sock.fileno() >= 0

    @property
    def idle(self) -> bool:
        """Whether it has no stub."""
        return not self._stubs

    async def fork(self, mark: str, title: str, fds: Sequence[int]) -> Forked:
        """A new stub that has copies of `fds`, in the order of `forking.DESCRIPTORS`; OSError if that can't be."""
        self._count(+1)
        try:
            pid = await self._order(forking.pack_fork(mark, title), fds)
            if pid < 0:
                raise OSError(-pid, os.strerror(-pid))
        except BaseException:
            self._count(-1)
            raise
        return Forked(pid, lambda: self._reap(pid))

    def retire(self) -> None:
        """Let it end with its last stub."""
        self._linger = 0.0
        self._count(0)

    def close(self) -> None:
        """Let it end, and what stubs it has: it hears that nobody is there any more."""
        if self.alive:
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._loop.run_in_executor(None, self._end)
        while self._orders:
            if not (order := self._orders.popleft()).done():
                order.set_exception(ConnectionResetError(errno.ECONNRESET, "the fork server is gone"))

    async def _order(self, order: bytes, fds: Sequence[int]) -> int:
        if not self.alive:
            raise ConnectionResetError(errno.ECONNRESET, "the fork server is gone")
        self._sock.sendmsg([order], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        answer: asyncio.Future[int] = self._loop.create_future()
        self._orders.append(answer)
        return await asyncio.wait_for(answer, PATIENCE)

    def _on_answer(self) -> None:
        try:
            said = self._sock.recv(64)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self.close()
            return
        pid, order = forking.unpack_answer(said), self._orders.popleft()
        if not order.done():
            order.set_result(pid)
        elif pid > 0:  # whoever ordered it has gone meanwhile
            os.kill(pid, signal.SIGKILL)
            self._count(+1)
            self._reap(pid)

    def _reap(self, pid: int) -> None:
        if self.alive:
            try:
                self._sock.send(forking.pack_reap(pid))
            except OSError:  # it is gone itself, and somebody else reaps
                pass
        self._count(-1)

    def _count(self, more: int) -> None:
        self._stubs += more
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if not self._stubs:
            self._rest = self._loop.call_later(self._linger, self.close)

    def _end(self) -> None:
        try:
            self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ForkServers:
    """All fork servers of a server, by what their stubs have in common; `begun` is one that was started before."""

    def __init__(self, linger: float = LINGER, begun: ForkProcess | None = None) -> None:
        self._linger = linger
        self._servers: dict[Kind, ForkServer] = {}
        if begun is not None:
            self._servers[begun.kind] = ForkServer(begun, linger)

    async def fork(
        self, interpreter: str, boot: str, environment: Mapping[str, str], title: str, fds: Sequence[int]
    ) -> Forked | None:
        """A new stub with `environment`; None if it can't be forked, and is to be started anew.

        Why not is then for whoever starts it to find out: it has streams to say it on.
        """
        kind = Kind.of(interpreter, boot, environment)
        for _ in range(2):
            try:
                return await self._of(kind).fork(environment[VARIABLE], title, fds)
            except (OSError, asyncio.TimeoutError) as error:
                if (server := self._servers.pop(kind, None)) is not None:
                    server.retire()
                if getattr(error, "errno", 0) != errno.ESTALE:  # its interpreter or its numpy was replaced
                    log.debug("%s: no stub was forked: %s", interpreter, error)
                    break
        return None

    def retire_idle(self) -> None:
        """End those that no model has turned out to need."""
        for server in self._servers.values():
            if server.idle:
                server.retire()

    def close(self) -> None:
        """End them all."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def _of(self, kind: Kind) -> ForkServer:
        server = self._servers.get(kind)
        if server is None or not server.alive:
            server = self._servers[kind] = ForkServer(forkprocess.start(kind), self._linger)
        return server
