"""Payloads through a model's predict: one request, a batch merged into one, or a stream of responses."""

from __future__ import annotations

import time
from functools import partial
from types import CoroutineType
from typing import Any, List, Optional, Sequence, Tuple

from pyserver.ipc.messages import FINAL, RAISED, Request, Windows, pack_answered, pack_executed
from pyserver.ipc.words import EXECUTING
from pyserver.stub import executing
from pyserver.stub.execution import Execution
from pyserver.stub.mlserver import batching
from pyserver.stub.mlserver.answered import answer
from pyserver.stub.mlserver.failed import failure
from pyserver.stub.mlserver.host import Host
from pyserver.stub.mlserver.received import Reader, Received
from pyserver.stub.mlserver.streamed import respond
from pyserver.stub.request import Desk, ReceivedRequest, RequestLayouts
from pyserver.stub.response import InferenceResponse

_now = time.monotonic_ns


class MLServerExecution(Execution):
    """Runs payloads on predict and predict_stream. A coroutine that waits goes on beside the next payloads."""

    def __init__(self, host: Host, layouts: RequestLayouts, desk: Desk) -> None:
        super().__init__(None, "", host.settings.name, layouts, desk)
        self._host = host
        self._runner = host.runner
        self._reader = Reader(host.types)
        self._only: Optional[ReceivedRequest] = None
        self._early: Optional[Tuple[bytes, Windows]] = None

    @property
    def unfinished(self) -> bool:
        """Whether there is something to go on with beside the next message."""
        return self._runner.waiting

    def wait(self, fd: int) -> bool:
        """Go on until `fd` can be read, which is True, or something has ended."""
        readable = self._runner.wait(fd)
        self._desk.outbox.flush()
        return readable

    def run(self, payload: int, received: Sequence[Request], control: memoryview) -> int:
        """Execute one payload up to where it waits; return when that was (monotonic ns)."""
        began = _now()
        control[EXECUTING] = payload
        desk, layouts = self._desk, self._layouts
        cancelled = desk.cancelled
        if cancelled[received[0][1]] if len(received) == 1 else any(cancelled[request[1]] for request in received):
            received = self._kept(received)
        requests = [
            ReceivedRequest(key, slot, layouts[layout], windows, extras, desk)
            for key, slot, layout, windows, extras in received
        ]
        executing.requests = requests
        started = _now()
        written = self._begun(requests) if requests else None
        executing.requests = ()
        done = _now()
        self.took_ns = took = done - started
        if written is None:
            desk.outbox.put(pack_executed(payload, began, started - began, took, 0))
        else:
            desk.outbox.put(pack_answered(payload, requests[0].key, *written, began, started - began, took, 0))
        return done

    def _begun(self, requests: List[ReceivedRequest]) -> Optional[Tuple[bytes, Windows]]:
        """Begin a payload; the answer to its only request, written, where that is there already."""
        self._only = requests[0] if len(requests) == 1 else None
        self._begin(requests)
        self._only = None
        early, self._early = self._early, None
        return early

    def _begin(self, requests: List[ReceivedRequest]) -> None:
        try:
            read = [self._reader.read(request) for request in requests]
            if read[0].stream:
                for one in read:
                    self._runner.begin(respond(one, self._host, self._reader, self._desk), _ended)
                return
            if read[0].handler is not None:
                for one in read:
                    assert one.handler is not None
                    self._runner.begin(self._host.handlers.answer(*one.handler), partial(self._handled, one))
                return
            merged = read[0].payload if len(read) == 1 else batching.merged(read, self._host.types)
            returned = self._host.model.predict(merged)
            if not hasattr(returned, "__await__"):
                self._reply(read, returned)
            else:
                coroutine = returned if type(returned) is CoroutineType else _whole(returned)
                self._runner.begin(coroutine, lambda task: self._settle(read, task))
        except BaseException as error:
            self._refuse(requests, error)

    def _settle(self, read: List[Received], task: Any) -> None:
        try:
            self._reply(read, task.result())
        except BaseException as error:
            self._refuse([one.request for one in read], error)

    def _handled(self, one: Received, task: Any) -> None:
        try:
            said = task.result()
            if one.request.take():
                self._desk.outbox.put(self._desk.answers.response(one.key, said, None))
        except BaseException as error:
            self._refuse([one.request], error)

    def _reply(self, read: List[Received], response: Any) -> None:
        if response is None:
            raise self._host.errors(f"Model '{self._instance_name}' returned no predictions after inference")
        if len(read) == 1:
            made = [answer(response, read[0].typed)]
            if self._leaves_with_times(read[0].request, made[0]):
                return
        else:
            made = [answer(part, read[0].typed) for part in batching.split(read, response, self._host.types)]
        for one, said in zip(read, made):
            if one.request.take():
                self._desk.outbox.put(self._desk.answers.response(one.key, said, None))

    def _leaves_with_times(self, request: ReceivedRequest, response: InferenceResponse) -> bool:
        """Whether this is the answer to the payload's only request before the payload has ended: one record for both.

        What can't be written is no such answer: `Answers.response` says why.
        """
        if request is not self._only or request.has_sender:
            return False
        try:
            self._early = self._desk.answers.outputs(response, None)
        except Exception:
            return False
        return True

    def _refuse(self, requests: Sequence[ReceivedRequest], error: BaseException) -> None:
        """Answer all with the error. One of a batch is tried once more by the server, alone."""
        code, message, traceback, status = failure(error, self._host.errors)
        flags = FINAL | RAISED if len(requests) > 1 else FINAL
        for request in requests:
            if request.take():
                said = self._desk.answers.error(request.key, code, message, traceback, flags, status)
                self._desk.outbox.put(said)
                traceback = ""


async def _whole(awaitable: Any) -> Any:
    return await awaitable


def _ended(task: Any) -> None:
    """A stream has ended; what went wrong its client was told, unless that went wrong."""
    task.result()
