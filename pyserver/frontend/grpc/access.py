"""The access log of gRPC: methods that say how each of their calls went."""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import Callable
from functools import partial
from typing import Any

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.access import AccessLog
from pyserver.frontend.grpc.engine import Method, Stream, StreamMethod
from pyserver.payload import Reply, Ticket
from pyserver.protocol import status
from pyserver.types import InferResponse

OK = 0
UNKNOWN = status.GRPC[ErrorCode.UNKNOWN]


def logged(method: Method, access: AccessLog) -> Method:
    """`method`, which writes a line of `access` for each call while that is on. Its size is that of the tensors."""
    path, work, blame = method.path, method.run, method.blame

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
        began = time.monotonic()
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
        noted = _Noted(reply, partial(say, asked, time.monotonic()))
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

    async def serve(stream: Stream) -> None:
        began, code = time.monotonic(), UNKNOWN
        try:
            await method.serve(stream)
            code = OK
        finally:
            if access.on:
                access.line("-", "grpc", "POST", method.path, code, 0, time.monotonic() - began, "")

    return method._replace(serve=serve)


def code_of(error: BaseException) -> int:
    """The gRPC code that a failure ends a call with."""
    return status.GRPC[error.code] if isinstance(error, ServerError) else status.GRPC[ErrorCode.INTERNAL]


def size_of(result: Any) -> int:
    """Bytes of an answer's tensors."""
    return sum(len(output.data) for output in result.outputs) if isinstance(result, InferResponse) else 0
