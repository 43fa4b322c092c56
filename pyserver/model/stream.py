"""The responses to one request, as many as they are: what front ends and callers of a decoupled model read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pyserver.errors import ErrorCode, ServerError, internal
from pyserver.model.cached import CachedAnswer
from pyserver.payload import Pending
from pyserver.types import InferResponse

if TYPE_CHECKING:
    from pyserver.model.model import Model


class Item(NamedTuple):
    """One response, which its reader releases, and whether it is the last. An error is a response that has one."""

    response: InferResponse
    final: bool


class Stream:
    """The `Reply` to one request, in order: an async iterator of `Item`s or, after `listen`, a source of calls.

    It holds as much as the model may have sent and not had read (`pyserver.stub.streaming.WINDOW`): a response counts
    as read when it is released. `cancel` says that nobody reads on; what has come and what comes is then released.
    `ended` turns true with the last response. `pending` is its request until then, None where the cache has it.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.pending: Pending | None = None
        self.followed: asyncio.Future[InferResponse] | None = None
        self.ended = False
        self.cancelled = False
        self.count = 0
        self._items: deque[Item] = deque()
        self._listener: Callable[[Item], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._read_last = False

    def follow(self, future: asyncio.Future[InferResponse], request_id: str) -> None:
        """Its only response is that of `future`, from the cache or not; cancelling the stream cancels the future."""
        self.followed = future
        future.add_done_callback(lambda done: self._followed(done, request_id))

    def _followed(self, future: asyncio.Future[InferResponse], request_id: str) -> None:
        self.model.streams.discard(self)
        if future.cancelled():
            self._refuse(ServerError(ErrorCode.CANCELLED, "the request was cancelled"), request_id)
        elif (error := future.exception()) is not None:
            found = error if isinstance(error, ServerError) else internal(f"unexpected error: {error!r}")
            self._refuse(found, request_id)
        else:
            self._pass(future.result(), True)

    def _refuse(self, error: ServerError, request_id: str) -> None:
        model = self.model
        self._pass(InferResponse(model.name, str(model.version), request_id, error=error), True)

    @property
    def waits_for(self) -> Pending | None:
        """The request that its next response is an answer to; None if there is none, or none yet."""
        if isinstance(self.followed, CachedAnswer):
            return self.followed.pending
        return self.pending

    def listen(self, listener: Callable[[Item], None]) -> None:
        """Have `listener` called with every item, those that have come at once."""
        self._listener = listener
        while self._items:
            listener(self._items.popleft())

    def cancel(self) -> None:
        """Nobody waits for the rest: the request is dropped, or its model told."""
        if self.cancelled:
            return
        self.cancelled = True
        while self._items:
            self._items.popleft().response.release()
        if not self.ended:
            self.model.abandon(self)
        self._wake()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if self._read_last or self.cancelled:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        item = self._items.popleft()
        self._read_last = item.final
        return item

    # What the scheduler says, as payload.Reply.

    def answer(self, response: InferResponse, final: bool) -> None:
        """Take a response."""
        self.model.streamed(self, response, final)
        if final:
            self.pending = None
        self._pass(response, final)

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

    def fail(self, error: ServerError) -> None:
        """Take the error that ends it."""
        model = self.model
        request_id = self.pending.request.id if self.pending is not None else ""
        self.answer(InferResponse(model.name, str(model.version), request_id, error=error), True)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
