"""Which requests may be part of a sequence, and which start one."""

from __future__ import annotations

import itertools

from pyserver.errors import ServerError, invalid
from pyserver.payload import Pending
from pyserver.scheduler.controls import Controls
from pyserver.scheduler.slots import Sequence, Slots
from pyserver.types import SEQUENCE_START, InferRequest


class Membership:
    """The rules of the sequence batcher for what comes; with `iterative` every request is a sequence of its own."""

    def __init__(self, model: str, controls: Controls, slots: Slots, iterative: bool) -> None:
        self._model = model
        self._controls = controls
        self._slots = slots
        self._iterative = iterative
        self._numbers = itertools.count(1)

    def check(self, pending: Pending) -> Sequence | None:
        """The sequence that `pending` belongs to, None if it starts one; INVALID_ARG if it can't be part of any."""
        request = pending.request
        if pending.rows > 1:
            raise self.refusal(request, "must specify batch-size 1 due to requirements of sequence batcher")
        if self._iterative:
            return None
        if not request.correlation_id:
            raise self.refusal(request, "must specify a non-zero or non-empty correlation ID")
        self._controls.check(self._model, request.correlation_id)
        known = self._slots.get(request.correlation_id)
        if request.flags & SEQUENCE_START or (known is not None and not known.ended):
            return known
        raise self.refusal(request, "must specify the START flag on the first request of the sequence")

    def begin(self, pending: Pending) -> Sequence:
        """The sequence that `pending` starts, in a slot or in the backlog."""
        asked = pending.request.correlation_id
        number = next(self._numbers)
        sequence = Sequence(-number if self._iterative else asked, asked or number, pending.arrived_ns)
        self._slots.begin(sequence)
        return sequence

    def refusal(self, request: InferRequest, why: str) -> ServerError:
        """What a request gets that is out of place."""
        of = f" for sequence {request.correlation_id}" if request.correlation_id else ""
        about = f"[request id: {request.id}] " if request.id else ""
        return invalid(f"{about}inference request{of} to model '{self._model}' {why}")
