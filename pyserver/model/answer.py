"""Where an answer goes: into a future, or to a `Reply` by way of what has to happen to it first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pyserver.errors import ErrorCode, ServerError, internal
from pyserver.observe.formats import single
from pyserver.payload import Reply, Ticket
from pyserver.types import InferResponse, Tensor

log = logging.getLogger(__name__)


class Answer(asyncio.Future[InferResponse]):
    """The one response to a request, for who waits in a coroutine; cancelling it cancels the request."""

    ticket: Ticket | None = None

    def answer(self, response: InferResponse, final: bool) -> None:
        """Take the response; if nobody waits for it any more, give its memory back."""
        self.ticket = None
        if self.done():
            response.release()
        else:
            self.set_result(response)

    def fail(self, error: ServerError) -> None:
        """Take the error."""
        self.ticket = None
        if not self.done():
            self.set_exception(error)

    def cancel(self, msg: Any | None = None) -> bool:
        """As any future's, and the request is dropped, or told to its model, at once."""
        if not super().cancel(msg):
            return False
        if self.ticket is not None:
            self.ticket.cancel()
        return True


class Restored:
    """Has a last look at the outputs on their way to `reply`."""

    __slots__ = ("_reply", "_restore")

    def __init__(self, reply: Reply, restore: Callable[[list[Tensor]], None]) -> None:
        self._reply = reply
        self._restore = restore

    def answer(self, response: InferResponse, final: bool) -> None:
        """Pass it on, restored."""
        self._restore(response.outputs)
        self._reply.answer(response, final)

    def fail(self, error: ServerError) -> None:
        """Pass it on."""
        self._reply.fail(error)


def relay(future: asyncio.Future[InferResponse], reply: Reply, request_id: str = "") -> Ticket:
    """Tell `reply` how `future`, the answer to `request_id`, ends; cancelling the ticket cancels the future, of which
    it hears as well.
    """

    def settle(future: asyncio.Future[InferResponse]) -> None:
        if future.cancelled():
            reply.fail(ServerError(ErrorCode.CANCELLED, "the request was cancelled"))
            return
        error = future.exception()
        if error is None:
            reply.answer(future.result(), True)
        else:
            reply.fail(error if isinstance(error, ServerError) else _bug(error, request_id))

    future.add_done_callback(settle)
    return future


def _bug(error: BaseException, request_id: str) -> ServerError:
    log.error("an inference request failed [%s]", single(request_id), exc_info=error)
    return internal("internal error: see the server's log")
