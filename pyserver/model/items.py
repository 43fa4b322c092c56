"""Responses on their way to their one reader, in their order, and what has come of them and is not read yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from pyserver.types import InferResponse


class Item(NamedTuple):
    """One response, which its reader releases, and whether it is the last. An error is a response that has one."""

    response: InferResponse
    final: bool


class Items:
    """An async iterator of `Item`s or, after `listen`, a source of calls.

    Whoever makes them calls `_pass`; `ended` turns true with the last. `cancel` says that nobody reads on; what has
    come and what comes is then released.
    """

    def __init__(self) -> None:
        self.ended = False
        self.cancelled = False
        self._items: deque[Item] = deque()
        self._listener: Callable[[Item], None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def listen(self, listener: Callable[[Item], None]) -> None:
        """Have `listener` called with every item, those that have come at once."""
        self._listener = listener
        while self._items:
            listener(self._items.popleft())

    def cancel(self) -> None:
        """Nobody waits for the rest."""
        self.cancelled = True
        while self._items:
            self._items.popleft().response.release()
        self._wake()

    def __aiter__(self) -> Items:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if self.ended or self.cancelled:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    def _pass(self, response: InferResponse, final: bool) -> None:
        if final:
            self.ended = True
        if self.cancelled:
            response.release()
            return
        item = Item(response, final)
        if self._listener is not None:
            self._listener(item)
        else:
            self._items.append(item)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
