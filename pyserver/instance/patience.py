"""How long to wait for a stub that loads: as long as it shows signs of life, unless there is a limit to that too."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from pyserver.errors import ErrorCode, ServerError
from pyserver.instance.responses import ResponseMemory

LOOKS = 10
"""So many looks in a row that find no sign of life are a silence. Not the clock: a machine that was frozen for an hour
showed none of its own."""


class LoadError(ServerError):
    """A model that did not load or initialize; `traceback` is its own, "" where there is none."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(ErrorCode.INTERNAL, message)
        self.traceback = traceback


class Patience:
    """Waits for the answers of one stub, which has `limit` seconds (0: for ever) in all from now on."""

    def __init__(self, name: str, memory: ResponseMemory, limit: float) -> None:
        self._name = name
        self._memory = memory
        self._limit = limit
        self._clock = asyncio.get_running_loop().time
        self._deadline = self._clock() + limit if limit else math.inf

    async def answer(self, answer: asyncio.Future[dict[str, Any]], silence: float) -> dict[str, Any]:
        """The answer; LoadError if no sign of life is seen for `silence` seconds (0: for ever), or past the limit."""
        unheard, beat = 0, self._memory.heartbeat
        while True:
            left = self._deadline - self._clock()
            step = min(silence / LOOKS or left, left)
            await asyncio.wait((answer,), timeout=None if step == math.inf else max(0.0, step))
            if answer.done():
                return answer.result()
            if self._deadline <= self._clock():
                raise LoadError(f"Stub process '{self._name}' did not load within {self._limit:g} s")
            before, beat = beat, self._memory.heartbeat
            unheard = unheard + 1 if beat == before else 0
            if unheard >= LOOKS:
                raise LoadError(f"Stub process '{self._name}' said nothing for {silence:g} s while loading")
