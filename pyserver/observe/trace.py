"""One traced request: when what happened to it, whose child it is, and what it says to whoever writes it down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pyserver.observe.tensors import shown
from pyserver.types import Tensor

if TYPE_CHECKING:
    from pyserver.observe.trace_settings import TraceSetting


class Sink(Protocol):
    """Where traces go."""

    def begin(self, trace: Trace) -> None:
        """`trace` has begun: give it a context, if there is such a thing here."""

    def finish(self, trace: Trace) -> None:
        """`trace` is complete."""

    def close(self) -> None:
        """The server goes. May block."""


@dataclass(slots=True)
class Activity:
    """A tensor at one moment of a request's life."""

    name: str
    tensor: dict[str, str]


@dataclass(eq=False)
class Trace:
    """A request that is traced: `events` are names with monotonic nanoseconds, in the order in which they came.

    `parent` is the trace of the request for whose sake this one was made; `remote` the W3C traceparent that a client
    sent, `context` the one for whoever goes on from here; both "" where there is none.
    """

    setting: TraceSetting
    sink: Sink
    number: Callable[[Trace], int]
    model: str
    version: str
    request_id: str
    parent: Trace | None = None
    remote: str = ""
    context: str = ""
    events: list[tuple[str, int]] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    error: str = ""
    spans: tuple[Any, ...] = ()
    together: int = 0
    _executed: bool = False
    _ended: bool = False
    _finished: bool = False
    id: int = 0

    def __post_init__(self) -> None:
        self.id = self.number(self)

    @property
    def carrier(self) -> str | None:
        """The context as JSON, which `request.trace().get_context()` gives; None where there is none."""
        return json.dumps({"traceparent": self.context}) if self.context else None

    def begin(self, inputs: Iterable[Tensor]) -> None:
        """The request is accepted."""
        self.note("REQUEST_START")
        self.tensors("TENSOR_QUEUE_INPUT", inputs)
        self.sink.begin(self)

    def child(self, model: str, version: str, request_id: str, inputs: Iterable[Tensor]) -> Trace:
        """The trace of a request that this one's model, or ensemble, makes."""
        made = Trace(self.setting, self.sink, self.number, model, version, request_id, self)
        made.begin(inputs)
        return made

    def note(self, event: str, ns: int = 0) -> None:
        """Something has happened, now unless said when."""
        self.events.append((event, ns or time.monotonic_ns()))

    def tensors(self, activity: str, tensors: Iterable[Tensor]) -> None:
        """These went by, where tensors are traced."""
        if self.setting.tensors:
            self.activities += [Activity(activity, shown(tensor)) for tensor in tensors]

    def executed(self, arrived_ns: int, started_ns: int, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """The model has executed it."""
        self.note("QUEUE_START", arrived_ns)
        self.note("COMPUTE_START", started_ns)
        self.note("COMPUTE_INPUT_END", started_ns + input_ns)
        self.note("COMPUTE_OUTPUT_START", started_ns + input_ns + infer_ns)
        self.note("COMPUTE_END", started_ns + input_ns + infer_ns + output_ns)
        self.settled()

    def settled(self) -> None:
        """No execution is to be waited for: it was, or never will be."""
        self._executed = True
        self._finish()

    def ended(self, error: str = "") -> None:
        """It was answered, and the answer was sent."""
        self._ended = True
        self.error = error
        if error:
            self._executed = True
        self._finish()

    def _finish(self) -> None:
        if self._ended and self._executed and not self._finished:
            self._finished = True
            self.events.sort(key=lambda event: event[1])
            self.sink.finish(self)
