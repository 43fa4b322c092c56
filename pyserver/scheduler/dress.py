"""What a sequence's request wears when it goes out: controls and states. The client's own is left as it is."""

from __future__ import annotations

from dataclasses import replace

from pyserver.payload import Pending
from pyserver.scheduler.controls import READY, Controls
from pyserver.scheduler.fillers import filler
from pyserver.scheduler.implicit_state import States
from pyserver.scheduler.slots import Sequence
from pyserver.types import SEQUENCE_END, SEQUENCE_START, InferRequest, InferResponse, RequestedOutput

_EITHER = SEQUENCE_START | SEQUENCE_END


class Dress:
    """Adds controls and states, and takes new states off the answers."""

    def __init__(self, model: str, controls: Controls, states: States, iterative: bool) -> None:
        self._model = model
        self._controls = controls
        self._states = states
        self._iterative = iterative

    def starts(self, request: InferRequest, sequence: Sequence) -> bool:
        """Whether `request` is the one with which `sequence` begins."""
        return request.flags & SEQUENCE_START != 0 or (self._iterative and not sequence.steps)

    def begin(self, sequence: Sequence) -> None:
        """`sequence` begins, with its initial states."""
        sequence.begun = True
        sequence.states = self._states.initial()

    def on(self, request: InferRequest, sequence: Sequence) -> InferRequest:
        """A copy of `request` with the controls and states of its place in `sequence`."""
        flags = request.flags & _EITHER
        if self._iterative:
            flags = 0 if sequence.steps else SEQUENCE_START
        controls = self._controls.tensors(self._model, sequence.correlation_id, flags | READY)
        inputs = [*request.inputs, *controls, *sequence.states.values()]
        outputs = self._states.wanted(request.outputs) if self._states else request.outputs
        return replace(request, inputs=inputs, outputs=outputs, flags=flags)

    def filler(self, like: InferRequest, outputs: list[RequestedOutput] | None, now_ns: int) -> Pending:
        """The row of a slot that has no request: zeros in the shapes of `like`, which wears nothing."""
        more = self._controls.tensors(self._model, 0, 0) + list(self._states.initial().values())
        return filler(like, outputs, more, now_ns)

    def off(self, response: InferResponse, sequence: Sequence) -> None:
        """Keep the states in `response`, and take off those that nobody asked for; ServerError if one is not right."""
        if sequence.plain is not None and self._states:
            self._states.store(sequence.states, response, sequence.plain.outputs)
