"""The crossing between a side thread and a loop: one queue and one coalesced wake-up, whichever way it goes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pyserver.frontend.grpc.engine import Call, Method, encoded

log = logging.getLogger(__name__)
T = TypeVar("T")


class Crossing(Generic[T]):
    """Hands items, in order, from any thread to `deliver` on the thread of `loop`.

    However many are posted before the loop turns, it is woken once. A caller with several items puts them all and
    wakes afterwards.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, deliver: Callable[[T], None]) -> None:
        self.loop = loop
        self._deliver = deliver
        self._items: deque[T] = deque()
        self._woken = False
        self.put = self._items.append

    def post(self, item: T) -> None:
        """Put one item and wake the loop."""
        self.put(item)
        self.wake()

    def wake(self) -> None:
        """See that what was put is delivered. After the end of the loop it is not, and nothing is raised.

        The flag is set before the loop is woken and cleared before the queue is looked at: whoever finds it set has
        put its item before the loop looks.
        """
        if self._items and not self._woken:
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                log.debug("the loop is closed: %d items are dropped", len(self._items))

    def _drain(self) -> None:
        self._woken = False
        take, deliver = self._items.popleft, self._deliver
        for _ in range(len(self._items)):
            try:
                deliver(take())
            except Exception:
                log.exception("a call was lost")


class Bridge(Crossing[Call]):
    """Calls on their way to the main loop. One whose client has gone is posted again, which cancels it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, lambda call: call.step())
        self._encoded: Crossing[tuple[Callable[[Any], None], Any]] = Crossing(loop, _drop)

    def encoded_away(self, method: Method, result: Any, limit: int) -> bytes:
        """`encoded` in another thread; the result is dropped on the main loop, which owns what it holds."""
        try:
            return encoded(method, result, limit)
        finally:
            self._encoded.post((method.drop, result))


def _drop(item: tuple[Callable[[Any], None], Any]) -> None:
    drop, result = item
    drop(result)
