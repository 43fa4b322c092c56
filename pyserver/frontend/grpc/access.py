"""The access log of gRPC: methods that say how each of their calls went."""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.access import AccessLog
from pyserver.frontend.grpc.engine import Method, Stream, StreamMethod
from pyserver.payload import Reply, Ticket
from pyserver.protocol import status
from pyserver.protocol.mlserver_calls import Calls
from pyserver.types import InferResponse

OK = 0
UNKNOWN = status.GRPC[ErrorCode.UNKNOWN]


def logged(method: Method, access: AccessLog) -> Method:
    """`method`, which writes a line of `access` for each call while that is on. Its size is that of the tensors."""
    path, work, blame = method.path, method.run, method.blame
    calls = access.calls(path)

    def begin() -> float:
        if calls is not None:
            calls.started += 1
        return time.monotonic()

    def say(asked: Any, began: float, code: int, size: int) -> None:
        access.line("-", "grpc", "POST", path, code, size, time.monotonic() - began, str(getattr(asked, "id", "")))

    def done(asked: str, began: float, future: Future[Any]) -> None:
        if future.cancelled():
            say(asked, began, status.GRPC[ErrorCode.CANCELLED], 0)
        elif (error := future.exception()) is not None:
            say(asked, began, code_of(error), 0)
        else:
            say(asked, began, OK, size_of(future.result()))

    def run(asked: Any) -> Any:
        if not access.on:
            return work(asked)
        return watched(work, asked)

    def refuse(error: ServerError) -> Any:
        return watched(blame, error) if access.on else blame(error)

    def watched(step: Any, asked: Any) -> Any:
        began = begin()
        try:
            result = step(asked)
        except Exception as error:
            say(asked, began, code_of(error), 0)
            raise
        if isinstance(result, Future):
            result.add_done_callback(partial(done, asked, began))
        else:
            say(asked, began, OK, 0)
        return result

    submitted = method.submit

    def submit(asked: Any, reply: Reply) -> Ticket:
        assert submitted is not None
        if not access.on:
            return submitted(asked, reply)
        noted = _Noted(reply, partial(say, asked, begin()))
        try:
            return submitted(asked, noted)
        except ServerError as error:
            noted.say(code_of(error), 0)
            raise

    return method._replace(run=run, blame=refuse, submit=None if submitted is None else submit)


class _Noted:
    """A reply that says how the call went."""

    def __init__(self, reply: Reply, say: Callable[[int, int], None]) -> None:
        self._reply = reply
        self.say = say

    def answer(self, response: InferResponse, final: bool) -> None:
        """Pass an answer on."""
        if final:
            self.say(OK, size_of(response))
        self._reply.answer(response, final)

    def fail(self, error: ServerError) -> None:
        """Pass an error on."""
        self.say(code_of(error), 0)
        self._reply.fail(error)


def logged_stream(method: StreamMethod, access: AccessLog) -> StreamMethod:
    """`method`, which writes a line for each stream that has ended."""
    calls = access.calls(method.path)

    async def serve(stream: Stream) -> None:
        watched = _Watched(stream, calls or Calls())
        began, code = time.monotonic(), UNKNOWN
        try:
            await method.serve(watched if access.on else stream)
            code = OK
        except asyncio.CancelledError:
            code = status.GRPC[ErrorCode.CANCELLED]
            raise
        finally:
            if access.on:
                code = watched.aborted or code
                access.line("-", "grpc", "POST", method.path, code, 0, time.monotonic() - began, "")

    return method._replace(serve=serve)


class _Watched:
    """A stream whose messages are counted, and the code of its end noted: 0 where it is not aborted."""

    def __init__(self, stream: Stream, calls: Calls) -> None:
        self._stream = stream
        self._calls = calls
        self.metadata = stream.metadata
        self.hung_up = stream.hung_up
        self.trail = stream.trail
        self.aborted = 0
        calls.started += 1

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for message in self._stream:
            self._calls.received += 1
            yield message

    async def write(self, message: bytes) -> None:
        """Send a message, as the stream does."""
        await self._stream.write(message)
        self._calls.sent += 1

    async def abort(self, code: int, message: str) -> None:
        """End the stream with a gRPC status; raises."""
        self.aborted = code
        await self._stream.abort(code, message)


def code_of(error: BaseException) -> int:
    """The gRPC code that a failure ends a call with."""
    return status.grpc_code(error) if isinstance(error, ServerError) else status.GRPC[ErrorCode.INTERNAL]


def size_of(result: Any) -> int:
    """Bytes of an answer's tensors."""
    return sum(len(output.data) for output in result.outputs) if isinstance(result, InferResponse) else 0
