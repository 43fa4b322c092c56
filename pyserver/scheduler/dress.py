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

    def put_on(self, pending: Pending, sequence: Sequence) -> bool:
        """Dress `pending` for its run as the next of `sequence`; False if it can't run, for want of a START."""
        if self._starts(pending.request, sequence):
            sequence.begun = True
            sequence.states = self._states.initial()
        if not sequence.begun:
            return False
        sequence.running = pending
        sequence.run(self._on(pending.request, sequence))
        return True

    def unbegin(self, sequence: Sequence) -> None:
        """What runs of `sequence` has not run after all: if it was to start it, that has not begun."""
        if sequence.plain is not None and self._starts(sequence.plain, sequence):
            sequence.begun = False

    def _starts(self, request: InferRequest, sequence: Sequence) -> bool:
        """Whether `request` is the one with which `sequence` begins."""
        return request.flags & SEQUENCE_START != 0 or (self._iterative and not sequence.steps)

    def _on(self, request: InferRequest, sequence: Sequence) -> InferRequest:
        """A copy of `request` with the controls and states of its place in `sequence`."""
        flags = request.flags & _EITHER
        if self._iterative:
            flags = 0 if sequence.steps else SEQUENCE_START
        controls = self._controls.tensors(self._model, sequence.correlation_id, flags | READY)
        inputs = [*request.inputs, *controls, *sequence.states.values()]
        outputs = self._states.wanted(request.outputs) if self._states else request.outputs
        return replace(request, inputs=inputs, outputs=outputs, flags=flags)

    def rows(self, taken: dict[int, Pending], sequence: Sequence, now_ns: int) -> list[Pending]:
        """Requests by their slots, each in its row, with fillers like what runs of `sequence` in between."""
        plain, running = sequence.plain, sequence.running
        assert plain is not None
        assert running is not None
        outputs = running.request.outputs
        return [taken.get(slot) or self._filler(plain, outputs, now_ns) for slot in range(max(taken) + 1)]

    def _filler(self, like: InferRequest, outputs: list[RequestedOutput] | None, now_ns: int) -> Pending:
        """The row of a slot that has no request: zeros in the shapes of `like`, which wears nothing."""
        more = self._controls.tensors(self._model, 0, 0) + list(self._states.initial().values())
        return filler(like, outputs, more, now_ns)

    def off(self, response: InferResponse, sequence: Sequence) -> None:
        """Keep the states in `response`, and take off those that nobody asked for; ServerError if one is not right."""
        if sequence.plain is not None and self._states:
            self._states.store(sequence.states, response, sequence.plain.outputs)
