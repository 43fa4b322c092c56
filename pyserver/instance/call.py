"""One inference that a stub asks the server for: the request, who it is made for, and its answers on their way back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from pyserver.core import bytes as byte_strings
from pyserver.core.tensor import element_count
from pyserver.errors import ErrorCode, ServerError, internal, invalid
from pyserver.instance.services import Responses
from pyserver.payload import Pending
from pyserver.types import InferRequest, InferResponse, RequestedOutput, Tensor

WINDOW = 64
"""Responses of one call that the caller may have and not have read; the callee waits with the next."""
FEED_WINDOW = 8
"""Requests of a client's stream that its model may have and not have read; the next ones wait at the front end."""


class Answering(Protocol):
    """Whoever sends a call's answers to the stub."""

    def pass_on(self, call: Call, response: InferResponse, final: bool) -> None:
        """Send an answer."""


class Call:
    """One inference that a stub has asked for, and its answers on their way back; `works_for` are the requests that it
    is made for, as far as that is known.
    """

    def __init__(
        self,
        calls: Answering,
        key: int,
        stream: Responses,
        blocks: bool,
        works_for: Sequence[Pending],
        window: int = WINDOW,
    ) -> None:
        self.key = key
        self.stream = stream
        self.blocks = blocks
        self.works_for = works_for
        self.timer: asyncio.TimerHandle | None = None
        self.unread = 0
        self._window = window
        self._calls = calls
        self._items: deque[tuple[InferResponse, bool]] = deque()

    def heard(self, item: tuple[InferResponse, bool]) -> None:
        """Another answer; it waits while the caller is behind."""
        self._items.append(item)
        self.go_on()

    @property
    def abandoned(self) -> bool:
        """Whether all who it is made for have been cancelled."""
        return nobody_waits(self.works_for)

    def go_on(self) -> None:
        """Send what may be sent."""
        while self._items and self.unread < self._window:
            response, final = self._items.popleft()
            try:
                self._calls.pass_on(self, response, final)
            finally:
                response.release()

    def end(self) -> None:
        """It is over, or the caller is."""
        if self.timer is not None:
            self.timer.cancel()
        while self._items:
            self._items.popleft()[0].release()


def nobody_waits(works_for: Sequence[Pending]) -> bool:
    """Whether requests were cancelled that a call is made for, and nobody else waits for it; no, if none are known."""
    return bool(works_for) and all(pending.cancelled for pending in works_for)


def unwanted(model: str) -> ServerError:
    """What the caller of `model` hears when nobody waits any more."""
    text = f"the call of model '{model}' was cancelled: nobody waits any more for the request that it was made for"
    return ServerError(ErrorCode.CANCELLED, text)


def time_left(works_for: Sequence[Pending], given_us: int, now_ns: int) -> int:
    """Microseconds that a call may wait: as long as it says, or as the clients that it is made for will; 0 for ever."""
    if not works_for or not all(pending.request.timeout_us for pending in works_for):
        return given_us
    end = max(pending.arrived_ns + 1000 * pending.request.timeout_us for pending in works_for)
    left = max(1, (end - now_ns) // 1000)
    return min(given_us, left) if given_us else left


def read_request(said: dict[str, Any], inputs: list[Tensor]) -> InferRequest:
    """The request that a call describes. ServerError (INVALID_ARG) where the calling model has made a mistake."""
    name, version = said.get("model_name"), said.get("model_version", -1)
    outputs, timeout, flags = said.get("outputs", []), said.get("timeout_us", 0), said.get("flags", 0)
    if not isinstance(name, str) or not all(isinstance(number, int) for number in (version, timeout, flags)):
        raise invalid("a call needs a model's name, and whole numbers for version, timeout and flags")
    for tensor in inputs:
        if tensor.datatype == "BYTES":
            _check_elements(tensor)
    return InferRequest(
        name,
        str(version) if version > 0 else "",
        str(said.get("id", "")),
        inputs,
        [RequestedOutput(output, True) for output in outputs] or None,
        said.get("parameters", {}),
        timeout_us=max(0, timeout),
        correlation_id=said.get("correlation_id", 0),
        flags=flags,
    )


def _check_elements(tensor: Tensor) -> None:
    try:
        byte_strings.validate(tensor.data, element_count(tensor.shape))
    except byte_strings.ElementsError as error:
        raise internal(f"input '{tensor.name}' has broken BYTES elements: {error}") from None
