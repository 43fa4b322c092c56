"""A stream of responses that are changed on their way, in their order: as those of `extension.infer`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from pyserver.errors import ServerError, internal
from pyserver.extension.infer import Extended
from pyserver.model.stream import Item, Stream
from pyserver.types import InferResponse


class ExtendedStream:
    """A stream whose responses are what was asked for: the methods of `Stream` that its readers use.

    Made, the model has been started, unless large inputs are to be read before. What is long to do is done in a thread,
    and those who come later wait for it. Every response counts as read when its reader has released it.
    """

    def __init__(self, extended: Extended, run: Callable[[], Stream]) -> None:
        self._extended = extended
        self._stream = None if extended.takes_long else extended.read_and_start(run)
        self._cancelled = False
        self._items: deque[Item] = deque()
        self._listener: Callable[[Item], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._passing = asyncio.get_running_loop().create_task(self._pass(run))

    def listen(self, listener: Callable[[Item], None]) -> None:
        """As `Stream.listen`."""
        self._listener = listener
        while self._items:
            listener(self._items.popleft())

    def cancel(self) -> None:
        """As `Stream.cancel`. What a thread works on is given back when it is done."""
        self._cancelled = True
        while self._items:
            self._items.popleft().response.release()
        if self._stream is not None:
            self._stream.cancel()
        self._wake()

    def __aiter__(self) -> ExtendedStream:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if self._ended or self._cancelled:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    async def _pass(self, run: Callable[[], Stream]) -> None:
        """Take what comes of the model, change it, and pass it on."""
        try:
            stream = self._stream or await self._started(run)
            if stream is not None:
                async for item in stream:
                    await self._change(item.response)
                    self._put(item)
        except Exception as failure:
            model = self._extended.model
            refused = InferResponse(model.name, str(model.version), self._extended.request_id, error=_told(failure))
            self._put(Item(refused, True))
        finally:
            self._ended = True
            self._extended.release()
            self._wake()

    async def _started(self, run: Callable[[], Stream]) -> Stream | None:
        """The model's stream, once the inputs are read; None if nobody waits any more."""
        await asyncio.to_thread(self._extended.read)
        if not self._cancelled:
            self._stream = self._extended.start(run)
        return self._stream

    async def _change(self, response: InferResponse) -> None:
        if response.error is not None or response.empty:
            return
        try:
            if self._extended.heavy(response):
                await asyncio.to_thread(self._extended.finish, response)
            else:
                self._extended.finish(response)
        except Exception as failure:
            response.error, response.outputs = _told(failure), []

    def _put(self, item: Item) -> None:
        if self._cancelled:
            item.response.release()
        elif self._listener is not None:
            self._listener(item)
        else:
            self._items.append(item)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _told(failure: Exception) -> ServerError:
    return failure if isinstance(failure, ServerError) else internal(f"unexpected error: {failure!r}")
