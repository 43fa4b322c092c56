"""One request of a connection between its arrival and its turn to be answered."""

from __future__ import annotations

from typing import Protocol

from pyserver.errors import ServerError
from pyserver.frontend.rest.infer import Answer, failure, finish, let_go
from pyserver.frontend.rest.lane.head import Head
from pyserver.payload import Ticket
from pyserver.types import InferRequest, InferResponse


class Queue(Protocol):
    """Where it waits for its turn."""

    def ready(self) -> None:
        """One of those that wait has its answer."""

    def give(self) -> None:
        """As `ready`, while requests are read: what is given is sent when all that came are read."""


class Waiting:
    """The `pyserver.payload.Reply` to a request: `outcome` is None until there is an answer.

    It goes from the stub's message to the client's socket without a turn of the loop between. `head` is None for what
    was no request; `started` is the monotonic time when it came, 0 where nobody logs it.
    """

    __slots__ = ("_queue", "_ticket", "head", "outcome", "request", "started")

    def __init__(self, queue: Queue, head: Head | None, started: float) -> None:
        self._queue: Queue | None = queue
        self._ticket: Ticket | None = None
        self.head = head
        self.started = started
        self.request: InferRequest | None = None
        self.outcome: InferResponse | Answer | None = None

    def asked(self, ticket: Ticket) -> None:
        """The data plane has taken the request, and may have answered it already."""
        if self.outcome is None:
            self._ticket = ticket
        elif self._queue is not None:
            self._queue.give()

    def answer(self, response: InferResponse, final: bool) -> None:
        """Take the answer; its memory goes back if nobody waits for it."""
        if self._queue is None:
            response.release()
        else:
            self._settle(self._queue, response)

    def fail(self, error: ServerError) -> None:
        """Take the error."""
        if self._queue is not None:
            self._settle(self._queue, failure(error))

    def _settle(self, queue: Queue, outcome: InferResponse | Answer) -> None:
        self.outcome = outcome
        if self._ticket is not None:
            self._ticket = None
            queue.ready()

    def finished(self, response: InferResponse) -> Answer:
        """The answer that carries `response`."""
        assert self.request is not None
        let_go(self.request)
        try:
            return finish(self.request, response, None)
        except Exception as error:
            return failure(error, self.request.id)

    def let_go(self) -> None:
        """The request's memory is not needed any more."""
        if self.request is not None:
            let_go(self.request)

    def abandon(self) -> None:
        """Nobody waits any more: cancel what is under way, release what has come."""
        self._queue = None
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.cancel()
        if isinstance(self.outcome, InferResponse):
            self.outcome.release()
        self.let_go()
