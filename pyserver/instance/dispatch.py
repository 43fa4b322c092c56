"""Payloads to a stub and its answers back: the part of an instance that every request passes through, twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pyserver.core.records import pack_execute_one
from pyserver.errors import ServerError, internal, unavailable
from pyserver.instance.console import escaped, label
from pyserver.instance.flight import Flight
from pyserver.instance.layouts import RequestLayouts, pack_extras
from pyserver.instance.link import Link
from pyserver.instance.memory import Block, RequestMemory
from pyserver.instance.pace import Pace
from pyserver.instance.placing import place_all, place_one, place_rows
from pyserver.instance.responses import (
    ResponseLease,
    ResponseMemory,
    RowLease,
    RowsBlock,
    StreamLease,
    error_in,
    parameters_in,
)
from pyserver.ipc.arena import ArenaFull
from pyserver.ipc.messages import (
    ANSWERED,
    DROPPED,
    EXECUTED,
    FINAL,
    OK,
    RAISED,
    RESCHEDULED,
    RESPONSE,
    ROWS,
    MessageError,
    Request,
    Windows,
    pack_execute,
    pack_execute_rows,
)
from pyserver.payload import Payload, Pending, Raised, Timing
from pyserver.types import InferRequest, InferResponse, Lease, Tensor

log = logging.getLogger(__name__)

# A request's key is the number of its payload and, in the low bits, its place in it.
_ROW_BITS = 16
_ROW_MASK = (1 << _ROW_BITS) - 1
MOST_REQUESTS = 1 << _ROW_BITS
"""Requests in one payload, at most."""


class Dispatcher:
    """The `pyserver.payload.Executor` over a link; it takes payloads between `_open` and `_close`."""

    def __init__(self, name: str, model_name: str, version: int, requests: RequestMemory, ahead: int) -> None:
        self.name = name
        self.load = 0
        self._model_name = model_name
        self._model_version = str(version)
        self._requests = requests
        self._accepting = False
        self._pace = Pace(ahead)
        self._layouts = RequestLayouts()
        self._flights: dict[int, Flight] = {}
        self._number = 0
        self._loop = asyncio.get_running_loop()
        self._link: Link
        self._responses: ResponseMemory

    def room(self, now_ns: int) -> bool:
        """Whether another payload would soon be begun."""
        return self._accepting and self.load < self._pace.depth

    def execute(self, payload: Payload) -> None:
        """Copy the inputs of `payload` into request memory and send it with all else of this turn of the loop."""
        if not self._accepting:
            self._loop.call_soon(payload.owner.returned, payload)
            return
        number = self._number + 1
        try:
            if len(payload.pendings) == 1 and not isinstance(payload.pendings[0].request.lease, Block):
                flight, record = self._pack_one(number, payload)
            else:
                flight, record = self._pack_all(number, payload)
        except ArenaFull as error:
            self._loop.call_soon(_refuse, payload, self._full(error))
            return
        except Exception as error:
            ids = escaped(",".join(pending.request.id for pending in payload.pendings))
            log.exception("%s: a payload of %d requests can't be sent [%s]", self.name, len(payload.pendings), ids)
            refusal = internal(f"model '{self._model_name}': a request can't be sent to '{self.name}': {error}")
            self._loop.call_soon(_refuse, payload, refusal)
            return
        self._number = number
        self._flights[number] = flight
        self.load += 1
        self._link.send(record, self.load == 1)

    def pause(self) -> None:
        """Send nothing more ahead: what is executed waits for others, who may be waiting for what would be sent."""
        self._pace.depth = 0

    def unpause(self) -> None:
        """Undo `pause`."""
        self._pace.depth = self._pace.least

    def cancel(self, pending: Pending) -> None:
        """Let the running model see that nobody waits for `pending`; the stub drops what it has not begun."""
        for flight in self._flights.values():
            if flight.payload is pending.payload:
                flight.cancel(pending, self._requests)

    def pendings(self, keys: object) -> list[Pending]:
        """Those of the requests with these keys (a stub's word) that wait for an answer still."""
        found = []
        for key in keys if isinstance(keys, list) else ():
            if isinstance(key, int) and (flight := self._flights.get(key >> _ROW_BITS)) is not None:
                row = key & _ROW_MASK
                if flight.open >> row & 1:
                    found.append(flight.payload.pendings[row])
        return found

    def withdraw(self, pending: Pending) -> bool:
        """As `cancel`, if `pending` has not begun; whether that is so."""
        for number, flight in self._flights.items():
            if flight.payload is pending.payload and flight.slots and number > self._responses.begun:
                flight.cancel(pending, self._requests)
                return True
        return False

    def ahead(self) -> list[Pending]:
        """The requests that wait for others before the stub begins them."""
        if self.load < 2:
            return []
        begun = self._responses.begun
        unbegun = [flight.payload for number, flight in self._flights.items() if number > begun]
        if len(unbegun) == self.load:
            del unbegun[0]  # the stub has nothing else to do: it is as good as begun
        return [
            pending
            for payload in unbegun
            for pending in payload.pendings
            if pending.payload is payload and not pending.cancelled
        ]

    def _pack_one(self, number: int, payload: Payload) -> tuple[Flight, bytes]:
        request = payload.pendings[0].request
        layout = self._layouts.of(request)
        extras = pack_extras(request)
        offset, windows = place_one(self._requests, request)
        free = self._requests.slots
        slot = free.pop() if free else 0
        flight = Flight(payload, 1, offset, [slot] if slot else [], None)
        return flight, pack_execute_one(number, number << _ROW_BITS, slot, layout, windows, extras)

    def _pack_all(self, number: int, payload: Payload) -> tuple[Flight, bytes]:
        pendings = payload.pendings
        count = len(pendings)
        if count > MOST_REQUESTS:
            raise ValueError(f"a payload of {count} requests, at most {MOST_REQUESTS} go together")
        listed = [pending.request for pending in pendings]
        rows = self._pack_rows(number, payload, listed)
        if rows is not None:
            return rows
        described = [(self._layouts.of(request), pack_extras(request)) for request in listed]
        placed = place_all(self._requests, listed)
        free = self._requests.slots
        slots = [free.pop() for _ in pendings] if len(free) >= count else []
        key = number << _ROW_BITS
        packed: list[Request] = []
        for row, ((layout, extras), windows) in enumerate(zip(described, placed.windows, strict=True)):
            packed.append((key + row, slots[row] if slots else 0, layout, windows, extras))
        for block in placed.lent:
            block.hold()
        return Flight(payload, count, placed.offset, slots, placed.lent), pack_execute(number, packed)

    def _pack_rows(self, number: int, payload: Payload, listed: list[InferRequest]) -> tuple[Flight, bytes] | None:
        """As `_pack_all`, of most batches: requests that are alike. None for others."""
        layout_of = self._layouts.of
        layout = layout_of(listed[0])
        for request in listed:
            if layout_of(request) is not layout or isinstance(request.lease, Block) or pack_extras(request):
                return None
        placed = place_rows(self._requests, listed)
        if placed is None:
            return None
        offset, size = placed
        free, count = self._requests.slots, len(listed)
        slots = [free.pop() for _ in listed] if len(free) >= count else []
        record = pack_execute_rows(number, number << _ROW_BITS, slots or [0] * count, layout, offset, size)
        return Flight(payload, count, offset, slots, None), record

    def _full(self, error: ArenaFull) -> ServerError:
        return unavailable(
            f"model '{self._model_name}': no room for {error.nbytes} bytes of inputs, its requests may hold "
            f"{error.budget} bytes (--max-model-memory)"
        )

    # What the stub says.

    def _on_records(self, records: list[tuple[Any, ...]]) -> bool:
        for record in records:
            kind = record[0]
            try:
                if kind == ANSWERED:
                    self._on_answered(*record)
                elif kind == ROWS:
                    self._on_rows(*record)
                elif kind == RESPONSE:
                    self._on_response(*record)
                elif kind == EXECUTED:
                    self._on_executed(*record)
                else:
                    self._on_cold(kind, record[1])
            except MessageError:
                raise
            except Exception:
                log.exception("%s: what came of a record of kind %d", self.name, kind)
        return self.load > 0

    def _on_cold(self, kind: int, body: bytes) -> None:
        raise NotImplementedError

    def _on_response(
        self, kind: int, key: int, code: int, flags: int, layout: bytes, windows: Windows, extras: bytes
    ) -> None:
        row = key & _ROW_MASK
        flight = self._flights.get(key >> _ROW_BITS)
        if flight is None or not flight.open >> row & 1:
            raise MessageError(f"an answer to request {key}, which waits for none")
        if code != OK or flags & ~FINAL:
            self._on_unusual(flight, key, code, flags, windows, extras)
            return
        payload = flight.payload
        pending = payload.pendings[row]
        answer = self._response(pending, layout, windows)
        if extras:
            answer.parameters = parameters_in(extras)
        final = flags & FINAL != 0
        if final:
            self._heard_last(flight, key)
        else:
            answer.lease = StreamLease(flight, row, self._requests, answer.lease)
        payload.owner.answered(pending, answer, final)

    def _on_answered(
        self,
        kind: int,
        number: int,
        key: int,
        layout: bytes,
        windows: Windows,
        started_ns: int,
        input_ns: int,
        infer_ns: int,
        output_ns: int,
    ) -> None:
        """The only request of a payload has its answer, and the payload is over: `_on_response` and `_on_executed`."""
        flight = self._flights.get(number)
        if flight is None or flight.open != 1 or flight.executed or key != number << _ROW_BITS:
            raise MessageError(f"payload {number} answered by {key}, which waits for none")
        payload = flight.payload
        pending = payload.pendings[0]
        answer = self._response(pending, layout, windows)
        del self._flights[number]
        flight.open, flight.executed = 0, True
        flight.land(self._requests)
        self.load -= 1
        self._pace.executed(input_ns + infer_ns + output_ns)
        owner = payload.owner
        try:
            owner.answered(pending, answer, True)
        finally:
            owner.executed(payload, Timing(started_ns, input_ns, infer_ns, output_ns))

    def _on_rows(self, kind: int, key: int, count: int, layout: bytes, offset: int, size: int) -> None:
        """As many `_on_response`."""
        row = key & _ROW_MASK
        flight = self._flights.get(key >> _ROW_BITS)
        these = (1 << count) - 1 << row
        if flight is None or flight.open & these != these:
            raise MessageError(f"{count} answers from request {key} on, which do not all wait for one")
        tensors = self._responses.rows(layout, count, offset, size)
        flight.open ^= these
        if flight.executed and not flight.open:
            del self._flights[key >> _ROW_BITS]
            flight.land(self._requests)
        block = RowsBlock(self._link, offset, count * size, count)
        name, version, answered = self._model_name, self._model_version, flight.payload.owner.answered
        for pending, tensor in zip(flight.payload.pendings[row : row + count], tensors, strict=True):
            response = InferResponse(name, version, pending.request.id, [tensor], None, RowLease(block))
            try:
                answered(pending, response, True)
            except Exception:
                log.exception("%s: what came of an answer in a batch", self.name)

    def _response(self, pending: Pending, layout: bytes, windows: Windows) -> InferResponse:
        lease: Lease | None = None
        outputs: list[Tensor] = []
        if windows:
            outputs = self._responses.outputs(layout, windows)
            lease = ResponseLease(self._link, windows[0], windows[-2] + windows[-1] - windows[0])
        return InferResponse(self._model_name, self._model_version, pending.request.id, outputs, None, lease)

    def _on_unusual(self, flight: Flight, key: int, code: int, flags: int, windows: Windows, extras: bytes) -> None:
        """Pass on an error, the bare end of a stream, or the wish to be asked again later."""
        row = key & _ROW_MASK
        if windows:
            self._link.give_back(windows[0], 0)
        pending, owner = flight.payload.pendings[row], flight.payload.owner
        error, traceback = error_in(code, extras) if code != OK else (None, "")
        if traceback:
            labels = {"model": self._model_name, "version": self._model_version, "instance": self.name}
            extra = {**labels, "requests": escaped(pending.request.id)}
            log.error("%s: failed: %s", label(labels, extra["requests"] or "-"), traceback, extra=extra)
        answer = InferResponse(self._model_name, self._model_version, pending.request.id, error=error)
        if not flags & FINAL:
            answer.lease = StreamLease(flight, row, self._requests, None)
            owner.answered(pending, answer, False)
            return
        self._heard_last(flight, key)
        if error is not None and flags & DROPPED:
            owner.dropped(pending)
        elif error is not None:
            owner.failed(pending, Raised(error.code, error.message) if flags & RAISED else error)
        elif flags & RESCHEDULED:
            owner.rescheduled(pending)
        else:
            answer.empty = True
            owner.answered(pending, answer, True)

    def _heard_last(self, flight: Flight, key: int) -> None:
        flight.open ^= 1 << (key & _ROW_MASK)
        if flight.executed and not flight.open:
            del self._flights[key >> _ROW_BITS]
            flight.land(self._requests)

    def _on_executed(
        self, kind: int, number: int, started_ns: int, input_ns: int, infer_ns: int, output_ns: int
    ) -> None:
        flight = self._flights.get(number)
        if flight is None or flight.executed:
            raise MessageError(f"payload {number} executed, which was not sent")
        flight.executed = True
        if not flight.open:
            del self._flights[number]
            flight.land(self._requests)
        self.load -= 1
        self._pace.executed(input_ns + infer_ns + output_ns)
        payload = flight.payload
        payload.owner.executed(payload, Timing(started_ns, input_ns, infer_ns, output_ns))

    # When it is over.

    def _abandon(self, error: ServerError, begun: int) -> None:
        """The stub is dead: fail what it had begun, payloads up to number `begun`, and return the others."""
        flights, self._flights = self._flights, {}
        self.load = 0
        for number, flight in flights.items():
            flight.land(self._requests)
            if number <= begun:
                _lost(flight, error)
        # The last one first: each goes to the head of its queue.
        for number, flight in reversed(flights.items()):
            if number > begun:
                _tell(flight.payload.owner.returned, flight.payload)


def _refuse(payload: Payload, error: ServerError) -> None:
    for pending in payload.pendings:
        payload.owner.failed(pending, error)
    payload.owner.executed(payload, None)


def _lost(flight: Flight, error: ServerError) -> None:
    owner = flight.payload.owner
    for pending in flight.waiting():
        if not pending.done:  # as one is whose time was over before it began
            _tell(owner.failed, pending, ServerError(error.code, error.message))
    if not flight.executed:
        _tell(owner.executed, flight.payload, None)


def _tell(listener: Callable[..., None], *arguments: object) -> None:
    """Call who must not keep the others from hearing."""
    try:
        listener(*arguments)
    except Exception:
        log.exception("what came of a stub's death")
