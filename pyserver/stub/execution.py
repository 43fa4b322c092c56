"""One payload through a model's execute: requests in, checked answers out."""

from __future__ import annotations

import time
from typing import Any, Awaitable, Callable, Coroutine, Sequence

from pyserver.ipc.messages import DROPPED, FINAL, RAISED, RESCHEDULED, Request, Windows, pack_answered, pack_executed
from pyserver.ipc.words import EXECUTING
from pyserver.stub import executing
from pyserver.stub.failures import describe, full
from pyserver.stub.request import RELEASE_RESCHEDULE, Desk, ReceivedRequest, RequestLayouts
from pyserver.stub.response import ErrorCode, InferenceResponse

_NOT_A_LIST = "Expected a list in the execute return, found type '{}'."
_NOT_A_RESPONSE = "Expected an 'InferenceResponse' object in the execute function return list, found type '{}'."
_WRONG_COUNT = (
    "Number of InferenceResponse objects do not match the number of InferenceRequest objects. "
    "InferenceRequest(s) size is:{}, and InferenceResponse(s) size is:{}\n"
)
_CANCELLED = "the request was cancelled before it was executed"
_SENT_TOGETHER = 16
"""Answers of a batch that go in one message: the server passes them on while the next ones are made."""
_now = time.monotonic_ns


class Refusal(Exception):  # noqa: N818 - it is said, not raised, to a model
    """What execute returned is not what it should return."""


class Execution:
    """Runs payloads on a model's execute, one after another; `took_ns` is how long the last execute took."""

    def __init__(self, model: Any, model_file: str, instance_name: str, layouts: RequestLayouts, desk: Desk) -> None:
        self._execute: Callable[[Sequence[ReceivedRequest]], Any] | None = getattr(model, "execute", None)
        self._model_file = model_file
        self._instance_name = instance_name
        self._layouts = layouts
        self._desk = desk
        self._loop: Any = None
        self.took_ns = 0

    @property
    def _failed_flags(self) -> int:
        """What an answer says beside its error, where execute failed."""
        return FINAL | RAISED

    @property
    def unfinished(self) -> bool:
        """Whether something goes on beside the next message; the stub then waits by `wait`."""
        return False

    def wait(self, fd: int) -> bool:
        """Go on until `fd` can be read, which is True, or something has ended."""
        raise NotImplementedError

    def run(self, payload: int, received: Sequence[Request], control: memoryview) -> int:
        """Execute one payload and put its answers into the outbox; return when it was done (monotonic ns).

        `control` is told the payload's number first: if the process dies from here on, this payload had begun.
        """
        began = _now()
        control[EXECUTING] = payload
        desk, layouts = self._desk, self._layouts
        cancelled = desk.cancelled
        if cancelled[received[0][1]] if len(received) == 1 else any(cancelled[request[1]] for request in received):
            received = self._kept(received)
            if not received:
                self.took_ns = 0
                desk.outbox.put(pack_executed(payload, began, 0, 0, 0))
                return began
        requests = [
            ReceivedRequest(key, slot, layouts[layout], windows, extras, desk)
            for key, slot, layout, windows, extras in received
        ]
        executing.requests = requests
        written = None
        started = _now()
        try:
            if self._execute is None:
                raise Refusal(f"Python model {self._model_file} does not implement `execute` method.")
            returned = self._execute(requests)
            if type(returned) is not list:
                returned = self._settled(returned, requests)
            executed = _now()
            if len(requests) == 1:
                written = self._written(requests[0], returned)
            if written is None:
                self._answer(requests, returned)
        except BaseException as error:
            executed = _now()
            self._fail(requests, error)
        executing.requests = ()
        done = _now()
        self.took_ns = took = executed - started
        if written is None:
            desk.outbox.put(pack_executed(payload, began, started - began, took, done - executed))
        else:
            times = (began, started - began, took, done - executed)
            desk.outbox.put(pack_answered(payload, requests[0].key, *written, *times))
        return done

    def _written(self, request: ReceivedRequest, responses: list[Any]) -> tuple[bytes, Windows] | None:
        """Layout and windows of the answer to the only request of a payload, which leaves with the payload's times.

        None for what is no ordinary answer: `_answer` says what that is.
        """
        response = responses[0] if len(responses) == 1 else None
        if type(response) is not InferenceResponse or response._error is not None or response._parameters:
            return None
        if request.has_sender:
            return None
        try:
            written = self._desk.answers.outputs(response, request.wanted)
        except Exception:
            return None
        request.slot = 0
        return written

    def _kept(self, received: Sequence[Request]) -> list[Request]:
        """Say of the requests that nobody waits for any more that they won't run; return the others."""
        kept = []
        for request in received:
            if self._desk.cancelled[request[1]]:
                error = self._desk.answers.error(request[0], ErrorCode.CANCELLED, _CANCELLED, flags=FINAL | DROPPED)
                self._desk.outbox.put(error)
            else:
                kept.append(request)
        return kept

    def _settled(self, returned: Any, requests: list[ReceivedRequest]) -> list[InferenceResponse | None]:
        """The list behind what execute returned: a coroutine's result; for None one of None, if senders answer all."""
        if hasattr(returned, "__await__"):
            returned = self._awaited(returned)
        if returned is None and all(request.has_sender for request in requests):
            return [None] * len(requests)
        if not isinstance(returned, list):
            raise Refusal(_NOT_A_LIST.format(type(returned)))
        return returned

    def _awaited(self, awaitable: Awaitable[Any]) -> Any:
        """The result of an `async def execute`, run to its end on a loop that the process keeps."""
        import asyncio

        async def whole() -> Any:
            return await awaitable

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        coroutine: Coroutine[Any, Any, Any] = whole()
        return self._loop.run_until_complete(coroutine)

    def _answer(self, requests: list[ReceivedRequest], responses: list[InferenceResponse | None]) -> None:
        """Check the whole list, then answer each request."""
        if len(responses) != len(requests):
            raise Refusal(_WRONG_COUNT.format(len(requests), len(responses)))
        for request, response in zip(requests, responses):
            if not isinstance(response, InferenceResponse):
                again = request.release_flags == RELEASE_RESCHEDULE
                if not (response is None and (request.has_sender or again)):
                    raise Refusal(_NOT_A_RESPONSE.format(type(response)))
        for row in range(0, len(requests), _SENT_TOGETHER):
            if row:
                self._desk.outbox.flush()
            self._answer_some(requests[row : row + _SENT_TOGETHER], responses[row : row + _SENT_TOGETHER])

    def _answer_some(self, requests: list[ReceivedRequest], responses: list[InferenceResponse | None]) -> None:
        put, answers = self._desk.outbox.put, self._desk.answers
        record = answers.rows(requests[0].key, responses, requests[0].wanted) if _alike(requests) else None
        if record is not None:
            put(record)
            for request in requests:
                request.slot = 0
            return
        for request, response in zip(requests, responses):
            if response is not None:
                if request.take():
                    put(answers.response(request.key, response, request.wanted))
                    request.slot = 0
            elif request.release_flags == RELEASE_RESCHEDULE and request.take():
                put(answers.nothing(request.key, FINAL | RESCHEDULED))
                request.slot = 0

    def _fail(self, requests: Sequence[ReceivedRequest], error: BaseException) -> None:
        """Answer every request that has no answer yet with the error; the first carries the traceback, for the log."""
        is_refusal = isinstance(error, Refusal)
        reason = str(error) if is_refusal else describe(error)
        traceback = "" if is_refusal else full(error)
        message = f"Failed to process the request(s) for model '{self._instance_name}', message: {reason}"
        for request in requests:
            if request.take():
                answers = self._desk.answers
                self._desk.outbox.put(
                    answers.error(request.key, ErrorCode.INTERNAL, message, traceback, self._failed_flags)
                )
                request.slot, traceback = 0, ""


def _alike(requests: list[ReceivedRequest]) -> bool:
    """Whether they want the same outputs and have consecutive keys, and execute's list alone answers them."""
    first = requests[0]
    if len(requests) < 2 or requests[-1].key - first.key != len(requests) - 1:
        return False
    return all(request.wanted is first.wanted and not request.has_sender for request in requests)
