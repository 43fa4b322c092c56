"""What goes from a scheduler to an executor: payloads, each of one or more pending requests run together."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pyserver.errors import ServerError
from pyserver.types import InferRequest, InferResponse


class Timing(NamedTuple):
    """What one payload cost, in monotonic nanoseconds: when its execution began, and how long its three parts took."""

    started_ns: int
    input_ns: int
    infer_ns: int
    output_ns: int


class Reply(Protocol):
    """Where the answers to one request go. `fail`, or an `answer` with `final`, is the last call it gets."""

    def answer(self, response: InferResponse, final: bool) -> None:
        """Take an answer."""

    def fail(self, error: ServerError) -> None:
        """Take the error."""


class Ticket(Protocol):
    """What whoever asked for an answer holds until he has it: a `Pending`, or a future."""

    def cancel(self) -> object:
        """Nobody waits any more: the request is dropped, or its model told. Answers may still come."""


class Canceller(Protocol):
    """Who has accepted a request: a scheduler."""

    def cancel(self, pending: Pending) -> None:
        """Nobody waits for `pending` any more."""


class Raised(ServerError):  # noqa: N818 - it is said of a payload, and raised by nobody
    """A whole payload failed: the model's execute raised, and said nothing of single requests."""


class Pending:
    """A request between its acceptance and its last answer.

    `rows` is its batch size (1 for models that don't batch), `nbytes` the size of its inputs. `arrived_ns` is when it
    was accepted, by `scheduler`, `deadline_ns` when it expires in the queue (0 for never). `waiting` while it is in a
    queue; `payload` from then on, None again if it is not to run in that one. `done` turns true with the last answer,
    `failed` if that was an error; `cancelled` when nobody waits for an answer any more.
    """

    __slots__ = (
        "arrived_ns",
        "cancelled",
        "deadline_ns",
        "done",
        "failed",
        "nbytes",
        "payload",
        "reply",
        "request",
        "rows",
        "scheduler",
        "waiting",
    )

    def __init__(
        self,
        request: InferRequest,
        reply: Reply,
        arrived_ns: int,
        rows: int,
        nbytes: int,
        scheduler: Canceller | None = None,
    ) -> None:
        self.request = request
        self.reply = reply
        self.arrived_ns = arrived_ns
        self.deadline_ns = 0
        self.rows = rows
        self.nbytes = nbytes
        self.scheduler = scheduler
        self.waiting = False
        self.cancelled = False
        self.done = False
        self.failed = False
        self.payload: Payload | None = None

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        if self.scheduler is not None:
            self.scheduler.cancel(self)


class PayloadOwner(Protocol):
    """Who made a payload, a scheduler, hears here how it went."""

    def answered(self, pending: Pending, response: InferResponse, final: bool) -> None:
        """One answer to `pending` has come; `final` says that it is the last."""

    def failed(self, pending: Pending, error: ServerError) -> None:
        """`pending` failed; no more is heard of it. The error is `Raised` where its whole payload failed unanswered."""

    def dropped(self, pending: Pending) -> None:
        """`pending` was cancelled before its payload was begun, and never ran; no more is heard of it."""

    def rescheduled(self, pending: Pending) -> None:
        """The model wants to be asked again: `pending` goes back to the queue once its payload is executed."""

    def executed(self, payload: Payload, timing: Timing | None) -> None:
        """The executor is done with `payload` and has room again; `timing` is None if it died over it."""

    def returned(self, payload: Payload) -> None:
        """The executor died, or is going, before it began `payload`: it may run elsewhere as if never sent.

        Of several payloads the one sent last is returned first, so that the order of the queue is restored.
        """


class Payload:
    """One call of a model's execute: `pendings` in order, made by `owner`, run by `executor`."""

    __slots__ = ("executor", "owner", "pendings", "sent_ns")

    def __init__(self, pendings: list[Pending], owner: PayloadOwner) -> None:
        self.pendings = pendings
        self.owner = owner
        self.executor: Executor | None = None
        self.sent_ns = 0
        for pending in pendings:
            pending.payload = self


class Executor(Protocol):
    """What runs payloads, one after another in the order given: an instance, seen from its scheduler."""

    name: str

    @property
    def load(self) -> int:
        """Payloads that it has and hasn't finished."""

    def room(self, now_ns: int) -> bool:
        """Whether it takes another payload now. It may take more than it runs at once, so as never to wait for the
        server, but only as many as it will soon begin: what it has not begun may no longer be reordered.
        """

    def execute(self, payload: Payload) -> None:
        """Take `payload`. Never raises, never blocks: how it went is told to `payload.owner`, from the event loop."""

    def cancel(self, pending: Pending) -> None:
        """Nobody waits for `pending` any more: let the running model see it; if it has not begun, it never will."""

    def withdraw(self, pending: Pending) -> bool:
        """As `cancel`, if `pending` has not begun; whether that is so."""

    def ahead(self) -> list[Pending]:
        """The requests that it was given and has not begun."""
