"""The server's end of a worker process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "pyserver.environment.worker"]
PACKAGE = str(Path(__file__).parent.parent.parent)
LINE_LIMIT = 1 << 20


class Worker:
    """A worker that was started on the running loop, with `order` to do; the loop's thread has to be the main one.

    `subprocess` starts it by vfork, which costs a large server nothing; asyncio's own processes may be forked.
    """

    def __init__(self, order: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=_with_package(),
            cwd="/",
        )
        self._exited: asyncio.Future[str] = self._loop.create_future()
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._reap)
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            stdin.write(order)

    async def lines(self) -> AsyncGenerator[dict[str, Any], None]:
        """What it says, line by line, until it has nothing more to say."""
        reader = asyncio.StreamReader(LINE_LIMIT)
        transport, _ = await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        try:
            while line := await reader.readline():
                yield json.loads(line)
        finally:
            transport.close()

    def kill(self) -> None:
        """End it with all that it runs."""
        if self._process.returncode is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    async def ended(self) -> str:
        """Wait until it has ended: how."""
        return await asyncio.shield(self._exited)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._exited.set_result(f"status {self._process.wait()}")


def _with_package() -> dict[str, str]:
    """The server's own environment, and the package where it was found."""
    paths = [PACKAGE, *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
