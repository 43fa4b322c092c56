"""What the server does for the models in its instances, as the instances see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pyserver.errors import unavailable
from pyserver.instance.log_levels import LogLevels
from pyserver.payload import Pending
from pyserver.types import InferRequest


class Responses(Protocol):
    """The responses to a call: a `pyserver.model.stream.Stream`, seen from below."""

    model: Any
    ended: bool

    @property
    def waits_for(self) -> Pending | None:
        """The request that its next response is an answer to; None if there is none, or none yet."""

    def listen(self, listener: Callable[[Any], None]) -> None:
        """Have `listener` called with each (response, final)."""

    def cancel(self) -> None:
        """Nobody waits for the rest."""


class Services(Protocol):
    """What the server does for the models in its instances."""

    log_levels: LogLevels

    def infer(
        self, request: InferRequest, decoupled: bool, caller: Any, waits: bool, parent: object = None
    ) -> Responses:
        """Start an inference for the instance `caller`, which can do nothing else until it is over if it `waits`.
        `parent` is the number of the trace of the request for whose sake it is, as far as the stub knows.
        A ServerError refuses it, in words for the calling model.
        """

    def feed(self, pending: Pending) -> Responses:
        """The other requests of the client's stream that `pending` began, in the form of responses.
        A ServerError where it began none.
        """

    async def control(self, caller: Any, asked: dict[str, Any]) -> Any:
        """Do what else was asked (messages.CONTROL); a value that JSON has. A ServerError refuses it."""

    def gone(self, caller: Any) -> None:
        """The instance has ended."""


class NoServices:
    """For an instance that stands alone: refuses everything."""

    def __init__(self) -> None:
        self.log_levels = LogLevels()

    def infer(
        self, request: InferRequest, decoupled: bool, caller: Any, waits: bool, parent: object = None
    ) -> Responses:
        """No other model is there."""
        raise unavailable(f"there is no model '{request.model_name}' to call from here")

    def feed(self, pending: Pending) -> Responses:
        """No front end is there."""
        raise unavailable("there is no stream to read here")

    async def control(self, caller: Any, asked: dict[str, Any]) -> Any:
        """Nothing is there to be controlled."""
        raise unavailable(f"'{asked.get('what')}' can't be asked for here")

    def gone(self, caller: Any) -> None:
        """Nothing to do."""
