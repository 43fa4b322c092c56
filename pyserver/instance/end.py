"""The end of a stub: whether it has come, who wanted it, and what the stub died of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pyserver.instance.process import StubProcess

log = logging.getLogger(__name__)

END_GRACE = 0.5
"""Seconds from the end of a stub's channel to the end of its process."""
TERM_GRACE = 1.0
"""Seconds from SIGTERM to SIGKILL."""
KILL_WAIT = 10.0
"""Seconds after a SIGKILL in which even a process in the middle of a system call goes."""


class End:
    """The end of the stub `name`, from before its start. `verdict` is why the server kills it, "" if it does not."""

    def __init__(self, name: str) -> None:
        self.verdict = ""
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._come: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def come(self) -> bool:
        """Whether the process has been, and is reaped."""
        return self._come.done()

    async def within(self, seconds: float) -> bool:
        """Wait for it; whether it came."""
        await asyncio.wait((self._come,), timeout=seconds)
        return self.come

    async def enforce(self, process: StubProcess, timeout: float | None) -> None:
        """Give it `timeout` seconds to come by itself, then SIGTERM, then SIGKILL; None: SIGKILL at once."""
        if timeout is not None:
            if await self.within(timeout):
                return
            self.verdict = f"it did not end within {timeout:g} s"
            log.warning("%s: %s and is killed", self._name, self.verdict)
            process.terminate()
            if await self.within(TERM_GRACE):
                return
        process.kill()
        if not await self.within(KILL_WAIT):
            log.error("%s: process %d does not end, not even by SIGKILL", self._name, process.pid)

    def expect(self, overdue: Callable[[str], None]) -> None:
        """The stub has closed its channel: call `overdue` with a verdict if it is not gone in a moment."""
        self._timer = self._loop.call_later(END_GRACE, overdue, "it closed its channel")

    def has_come(self) -> None:
        """The process is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._come.set_result(None)

    def autopsy(self, process: StubProcess, when: str) -> str:
        """What it died of, `when`, and its last words."""
        cause = (f"killed by the server: {self.verdict}" if self.verdict else process.outcome()) + when
        lines = process.console.last_lines()
        return "\n  ".join([f"{cause}; last lines on stderr:", *lines]) if lines else cause
