"""What is noted of a traced request on its way through a model: by its scheduler's observer, and by its future."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from pyserver.errors import ServerError
from pyserver.observe.trace import Trace
from pyserver.observe.trace_settings import TraceSetting
from pyserver.payload import Payload, Pending, Timing
from pyserver.scheduler.scheduler import Observer
from pyserver.types import InferRequest, InferResponse

if TYPE_CHECKING:
    from pyserver.model.model import Model


class TracingObserver:
    """Tells the traces of requests what the scheduler says to `counted`, who hears it first."""

    def __init__(self, counted: Observer) -> None:
        self._counted = counted

    def executed(self, payload: Payload, timing: Timing, now_ns: int) -> None:
        """`payload` ran."""
        pendings = [pending for pending in payload.pendings if pending.payload is payload]
        self._counted.executed(payload, timing, now_ns)
        for pending in pendings:
            trace = pending.request.trace
            if trace is not None:
                trace.together = len(pendings)
                trace.executed(pending.arrived_ns, *timing)

    def rejected(self, pending: Pending, now_ns: int) -> None:
        """`pending` was refused."""
        self._counted.rejected(pending, now_ns)
        _settle(pending)

    def cancelled(self, pending: Pending, now_ns: int) -> None:
        """`pending` never ran."""
        self._counted.cancelled(pending, now_ns)
        _settle(pending)

    def lost(self, pending: Pending, now_ns: int) -> None:
        """`pending` was not executed to the end."""
        self._counted.lost(pending, now_ns)
        _settle(pending)


def _settle(pending: Pending) -> None:
    if pending.request.trace is not None:
        pending.request.trace.settled()


class _Nobody:
    """A sink for what only the front end looks at."""

    def begin(self, trace: Trace) -> None:
        """Nobody goes on from here."""

    def finish(self, trace: Trace) -> None:
        """Nobody writes it down."""

    def close(self) -> None:
        """Nothing is open."""


def watch(request: InferRequest, model: Model) -> None:
    """Note what happens to `request` in its `trace`, for who asked it alone."""
    model.watch_traces()
    request.trace = Trace(_OFF, _NOBODY, lambda trace: 0, model.name, str(model.version), request.id)


_OFF = TraceSetting()
_NOBODY = _Nobody()


def begin(trace: Trace, request: InferRequest, model: Model) -> None:
    """`request` is traced from here on: `model` is to run it."""
    model.watch_traces()
    request.trace = trace
    trace.begin(request.inputs)
    _hand_on(trace, request)


def begin_child(parent: Trace, request: InferRequest, model: Model) -> None:
    """As `begin`, for a request that is made for the sake of another one."""
    model.watch_traces()
    request.trace = trace = parent.child(model.name, str(model.version), request.id, request.inputs)
    _hand_on(trace, request)


def _hand_on(trace: Trace, request: InferRequest) -> None:
    """Let the model see the context, as a parameter and as the carrier that `request.trace()` gives."""
    if trace.context:
        request.parameters = {**request.parameters, "traceparent": trace.context}


def follow(trace: Trace, future: asyncio.Future[InferResponse], protocol: str) -> None:
    """Note the end of a request, and what the front end, which hears of it next, takes to send it."""
    future.add_done_callback(partial(_answered, trace, protocol))


def _answered(trace: Trace, protocol: str, future: asyncio.Future[InferResponse]) -> None:
    error = "the request was cancelled" if future.cancelled() else said(future.exception())
    trace.note("INFER_RESPONSE_COMPLETE")
    if not error:
        trace.tensors("TENSOR_BACKEND_OUTPUT", future.result().outputs)
    trace.note("REQUEST_END")
    if protocol:
        trace.note(f"{protocol}_SEND_START")
    # Callbacks of a future run in their order: the front end's, which sends, come between this and that.
    future.get_loop().call_soon(_sent, trace, protocol, error)


def _sent(trace: Trace, protocol: str, error: str) -> None:
    if protocol:
        trace.note(f"{protocol}_SEND_END")
    trace.ended(error)


def streamed(trace: Trace, response: InferResponse, final: bool) -> None:
    """A response of a stream has come."""
    trace.note("INFER_RESPONSE_COMPLETE")
    trace.tensors("TENSOR_BACKEND_OUTPUT", response.outputs)
    if final:
        trace.note("REQUEST_END")
        trace.ended(said(response.error))


def said(error: BaseException | None) -> str:
    """What a trace says of a failure; "" for none."""
    return "" if error is None else error.message if isinstance(error, ServerError) else type(error).__name__
