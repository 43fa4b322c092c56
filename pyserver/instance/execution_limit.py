"""How long one execution may take: looks, by the control page alone, at what the stub executes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LOOKS = 10
"""An execution that so many looks in a row have found has had its time. Not the clock: a machine that was frozen for an
hour executed nothing."""


class ExecutionLimit:
    """Ends an execution after `seconds`, a tenth later at most; on the running loop, from `start` to `stop`.

    `executing` is the number of the payload that is being executed, 0 for none. `warn` is called with it a tenth before
    its time is over, so that a model that looks can give up by itself; `end` when it is.
    """

    def __init__(
        self, seconds: float, executing: Callable[[], int], warn: Callable[[int], None], end: Callable[[], None]
    ) -> None:
        self._step = seconds / LOOKS
        self._executing = executing
        self._warn = warn
        self._end = end
        self._number = 0
        self._seen = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look from now on."""
        self._timer = asyncio.get_running_loop().call_later(self._step, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        # Who is looked at holds memory: it goes when he does, not when the collector comes by.
        self._executing, self._warn, self._end = _nothing, _ignored, _ended

    def _look(self) -> None:
        before, self._number = self._number, self._executing()
        self._seen = self._seen + 1 if self._number and self._number == before else 0
        if self._seen == LOOKS:
            self._end()
            return
        if self._seen == LOOKS - 1:
            self._warn(self._number)
        self.start()


def _nothing() -> int:
    return 0


def _ignored(number: int) -> None:
    pass


def _ended() -> None:
    pass
