"""The future of an answer: what a front end waits on, and where the scheduler puts the response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pyserver.errors import ServerError
from pyserver.payload import Pending
from pyserver.types import InferResponse, Tensor


class Answer(asyncio.Future[InferResponse]):
    """The one response to a request; cancelling it tells the scheduler that nobody waits any more.

    `restore`, where there is one, has a last look at the outputs.
    """

    pending: Pending | None = None
    abandon: Callable[[Pending], None] | None = None
    restore: Callable[[list[Tensor]], None] | None = None

    def answer(self, response: InferResponse, final: bool) -> None:
        """Take the response; if nobody waits for it any more, give its memory back."""
        self.pending = None
        if self.done():
            response.release()
            return
        if self.restore is not None:
            self.restore(response.outputs)
        self.set_result(response)

    def fail(self, error: ServerError) -> None:
        """Take the error."""
        self.pending = None
        if not self.done():
            self.set_exception(error)

    def cancel(self, msg: Any | None = None) -> bool:
        """As any future's, and the request is dropped, or told to its model, at once."""
        if not super().cancel(msg):
            return False
        if self.pending is not None and self.abandon is not None:
            self.abandon(self.pending)
        return True
