"""A client's stream of requests, as predict_stream reads it: the first is there, the others come as they are said."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, AsyncIterator, Deque, Optional

from pyserver.ipc.messages import EMPTY, FINAL, OK, unpack_json
from pyserver.stub import bls
from pyserver.stub.calls import Answer, calls
from pyserver.stub.mlserver.received import Reader, Received
from pyserver.stub.response import ErrorCode

_UNAVAILABLE = 503


class Feed:
    """The further requests, asked of the server from the beginning. Made in the task that answers the stream.

    When nobody waits for its answers any more, that task is cancelled. `error` is the class of what is raised where a
    request can't be had.
    """

    def __init__(self, one: Received, reader: Reader, error: Any) -> None:
        self._error = error
        self._first = one.payload
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._come: Deque[Answer] = deque()
        self._waiter: Optional[asyncio.Future[None]] = None
        self._said_all = self._over = self._closed = False
        self._call = calls().feed(one.key)
        self._call.listen(self._wake)

    async def requests(self) -> AsyncIterator[Any]:
        """All of them, in order."""
        yield self._first
        while True:
            while not self._come:
                if self._said_all:
                    return
                self._waiter = self._loop.create_future()
                await self._waiter
            answer = self._come.popleft()
            if answer.code != OK:
                raise self._error(unpack_json(answer.extras)["message"], _UNAVAILABLE)
            yield self._reader.further(bls.outputs_of(answer), self._first.id or "")

    def close(self) -> None:
        """Nobody reads on."""
        self._take()
        self._closed = True
        for answer in self._come:
            if answer.windows:
                calls().free(answer.windows[0])
        if not self._over:
            calls().cancel(self._call)
            bls.discard(self._call)

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._on_arrival)
        except RuntimeError:
            pass  # the loop is closed: the model goes

    def _on_arrival(self) -> None:
        if self._closed:
            return
        self._take()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self) -> None:
        while self._call.waiting():
            answer = self._call.take()
            self._over = self._over or bool(answer.flags & FINAL)
            self._said_all = self._said_all or bool(answer.flags & (EMPTY | FINAL))
            if answer.code == ErrorCode.CANCELLED and self._task is not None:
                self._task.cancel()
            elif answer.code != OK or answer.windows:
                self._come.append(answer)
