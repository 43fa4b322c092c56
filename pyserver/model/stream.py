"""The responses to one request, as many as they are: what front ends and callers of a decoupled model read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyserver.errors import ErrorCode, ServerError, internal
from pyserver.model.cached import CachedAnswer
from pyserver.model.items import Items
from pyserver.payload import Pending
from pyserver.types import InferResponse

if TYPE_CHECKING:
    from pyserver.model.model import Model


class Stream(Items):
    """The `Reply` to one request: its responses are the items.

    It holds as much as the model may have sent and not had read (`pyserver.stub.streaming.WINDOW`): a response counts
    as read when it is released. `pending` is its request until the last has come, None where the cache has it.
    """

    def __init__(self, model: Model) -> None:
        Items.__init__(self)  # without super(), which is dearer: there is a stream for every request
        self.model = model
        self.pending: Pending | None = None
        self.followed: asyncio.Future[InferResponse] | None = None
        self.count = 0

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

    def cancel(self) -> None:
        """Nobody waits for the rest: the request is dropped, or its model told."""
        if self.cancelled:
            return
        super().cancel()
        if not self.ended:
            self.model.abandon(self)

    # What the scheduler says, as payload.Reply.

    def answer(self, response: InferResponse, final: bool) -> None:
        """Take a response."""
        self.model.streamed(self, response, final)
        if final:
            self.pending = None
        self._pass(response, final)

    def fail(self, error: ServerError) -> None:
        """Take the error that ends it."""
        model = self.model
        request_id = self.pending.request.id if self.pending is not None else ""
        self.answer(InferResponse(model.name, str(model.version), request_id, error=error), True)
