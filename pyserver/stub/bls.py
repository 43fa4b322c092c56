"""Calling other models (BLS): the values that describe a call, and the call itself."""

from __future__ import annotations

import enum
from typing import Any, AsyncIterator, Awaitable, Iterator

from pyserver.ipc.arena import ArenaFull
from pyserver.ipc.messages import EMPTY, FINAL, OK, unpack_json, unpack_layout
from pyserver.stub.calls import Answer, Call, calls
from pyserver.stub.response import ErrorCode, InferenceResponse, TritonError
from pyserver.stub.tensor import InputTensor, Tensor, input_spec


class MemoryType(enum.IntEnum):
    """Where a tensor should lie."""

    TRITONSERVER_MEMORY_GPU = 0
    TRITONSERVER_MEMORY_CPU = 1


class PreferredMemory:
    """Where the outputs of a call should lie. They lie in host memory, whatever is preferred."""

    __slots__ = ("_device_id", "_memory_type")

    def __init__(self, preferred_memory_type: MemoryType, preferred_device_id: int = 0) -> None:
        self._memory_type = preferred_memory_type
        self._device_id = preferred_device_id


class InferenceTrace:
    """The trace that a request belongs to; `get_context` is None where there is none."""

    __slots__ = ("_context", "_number")

    def __init__(self, context: str | None = None, number: int = 0) -> None:
        self._context = context
        self._number = number

    def get_context(self) -> str | None:
        """The OpenTelemetry context as JSON."""
        return self._context

    @property
    def number(self) -> int:
        """By which the server knows it; 0 where nothing is traced."""
        return self._number


class ResponseIterator:
    """The responses to a call, each as soon as it has come; iterated again it gives the same ones again.

    The last one is empty (no outputs, no error) where the callee ended its stream without one.
    """

    def __init__(self, call: Call | None, seen: list[InferenceResponse] | None = None) -> None:
        self._call = call
        self._seen = seen or []

    def __iter__(self) -> Iterator[InferenceResponse]:
        at = 0
        while at < len(self._seen) or self._call is not None:
            if at == len(self._seen):
                self._take(self._call)
            yield self._seen[at]
            at += 1

    async def __aiter__(self) -> AsyncIterator[InferenceResponse]:
        at = 0
        while at < len(self._seen) or self._call is not None:
            if at == len(self._seen):
                call = self._call
                await _arrival(call)
                self._take(call)
            yield self._seen[at]
            at += 1

    def cancel(self) -> None:
        """Want no more: the callee is told, and the iteration ends with an error of code CANCELLED."""
        if self._call is not None:
            calls().cancel(self._call)

    def _take(self, call: Call | None) -> None:
        assert call is not None
        answer = call.take()
        self._seen.append(_response(answer))
        if answer.flags & FINAL:
            self._call = None

    def __del__(self) -> None:
        # What nobody will read holds memory, and the callee.
        if self._call is not None:
            self.cancel()
            discard(self._call)


def run(fields: dict[str, Any], inputs: list[Tensor], decoupled: bool) -> InferenceResponse | ResponseIterator:
    """Ask and wait."""
    call = _begin(fields, inputs)
    if isinstance(call, InferenceResponse):
        return ResponseIterator(None, [call]) if decoupled else call
    return ResponseIterator(call) if decoupled else _response(call.take())


def run_async(
    fields: dict[str, Any], inputs: list[Tensor], decoupled: bool
) -> Awaitable[InferenceResponse | ResponseIterator]:
    """Ask now; an awaitable of the answer."""
    import asyncio

    loop = asyncio.get_running_loop()
    call = _begin(fields, inputs)

    async def answered() -> InferenceResponse | ResponseIterator:
        if isinstance(call, InferenceResponse):
            return ResponseIterator(None, [call]) if decoupled else call
        if decoupled:
            return ResponseIterator(call)
        await _arrival(call)
        return _response(call.take())

    return loop.create_task(answered())


def _begin(fields: dict[str, Any], inputs: list[Tensor]) -> Call | InferenceResponse:
    """The call, or the response that says why there is none."""
    try:
        return calls().infer(fields, inputs)
    except ArenaFull as full:
        message = f"the inputs need {full.nbytes} bytes, and the instance may hold {full.budget} at a time"
        return _failed(ErrorCode.UNAVAILABLE, message)
    except (TypeError, ValueError) as error:
        return _failed(ErrorCode.INVALID_ARG, f"the request can't be sent: {error}")


async def _arrival(call: Any) -> None:
    """Wait, without holding the loop up, until `call` has an answer."""
    import asyncio

    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    def tell() -> None:
        if not arrived.done():
            arrived.set_result(None)

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            pass  # the loop is closed: nobody waits

    call.listen(wake)
    try:
        await arrived
    finally:
        call.listen(None)


def _response(answer: Answer) -> InferenceResponse:
    """The response in an answer."""
    extras = unpack_json(answer.extras) if answer.extras else {}
    if answer.code != OK:
        return _failed(ErrorCode(answer.code), extras.get("message", ""))
    if answer.flags & EMPTY or not answer.windows:
        return InferenceResponse([], parameters=extras.get("parameters"))
    return InferenceResponse(outputs_of(answer), parameters=extras.get("parameters"))


def outputs_of(answer: Answer) -> list[InputTensor]:
    """The outputs in an answer, of which there are some, copied to memory of our own."""
    windows = answer.windows
    start = windows[0]
    there = calls()
    memory = memoryview(bytearray(there.memory[start : windows[-2] + windows[-1]]))
    there.free(start)
    return [
        InputTensor(input_spec(spec), memory, windows[2 * at] - start, windows[2 * at + 1])
        for at, spec in enumerate(unpack_layout(answer.layout).tensors)
    ]


def discard(call: Call) -> None:
    """Give back what comes, unread."""

    def drop() -> None:
        while call.waiting():
            answer = call.take()
            if answer.windows:
                calls().free(answer.windows[0])

    call.listen(drop)


def _failed(code: ErrorCode, message: str) -> InferenceResponse:
    return InferenceResponse(error=TritonError(message, code))
