"""ModelStreamInfer: one stream, any number of requests for any models, each answered as soon as its answer is there."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from pyserver.errors import ServerError
from pyserver.frontend.grpc.bridge import Bridge, Crossing
from pyserver.frontend.grpc.engine import MAX_MESSAGE, Call, Method, Stream, StreamMethod, encoded
from pyserver.protocol import grpc_infer, status
from pyserver.types import InferRequest, InferResponse

WINDOW = 256
"""Requests that one stream may have accepted and not yet answered. Beyond, it isn't read until its client reads."""


def model_stream_infer(path: str, infer: Method, bridge: Bridge) -> StreamMethod:
    """The streaming twin of `infer`, the method of ModelInfer."""

    async def serve(stream: Stream) -> None:
        await _Session(stream, infer, bridge).serve()

    return StreamMethod(path, serve)


class _Message(NamedTuple):
    """What is to be written: `failure` is set where the client wants the first error as the stream's status."""

    data: bytes
    failure: ServerError | None = None


class _Session:
    """One stream. Read in a task of its own, so that answers go out while the client says nothing."""

    def __init__(self, stream: Stream, infer: Method, bridge: Bridge) -> None:
        self._stream = stream
        self._bridge = bridge
        self._method = infer._replace(encode=_encode_final)
        self._home: Crossing[_Ask] = Crossing(asyncio.get_running_loop(), self._answered)
        self._open: set[_Ask] = set()
        self._room = asyncio.Semaphore(WINDOW)
        self._ready: asyncio.Queue[_Message | None] = asyncio.Queue()
        self._aborts = stream.metadata.get("triton_grpc_error") == "true"

    async def serve(self) -> None:
        """Read, answer and write until the client has said all and got all."""
        reader = asyncio.create_task(self._read())
        try:
            await self._write(reader)
        finally:
            reader.cancel()
            for ask in self._open:
                ask.gone = True
                self._bridge.put(ask)
            self._bridge.wake()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async for message in self._stream:
                await self._room.acquire()
                self._ask(message)
        finally:
            self._ready.put_nowait(None)

    async def _write(self, reader: asyncio.Task[None]) -> None:
        while not (reader.done() and not self._open and self._ready.empty()):
            message = await self._ready.get()
            if message is None:
                await asyncio.wait((reader,))
                reader.result()
            elif message.failure is not None:
                await self._stream.abort(status.GRPC[message.failure.code], message.failure.message)
            else:
                await self._stream.write(message.data)
                self._room.release()

    def _ask(self, message: bytes) -> None:
        ask = _Ask(self._method, message, self._home)
        self._open.add(ask)
        self._bridge.post(ask)

    def _answered(self, ask: _Ask) -> None:
        self._open.discard(ask)
        self._ready.put_nowait(self._message(ask))

    def _message(self, ask: _Ask) -> _Message:
        error = ask.error
        if error is None:
            try:
                return _Message(encoded(self._method, ask.result, MAX_MESSAGE))
            except ServerError as failure:
                error = failure
        if not ask.accepted:
            return _Message(grpc_infer.encode_stream_error(error, ask.id))
        if self._aborts:
            return _Message(b"", error)
        return _Message(grpc_infer.encode_stream_error(error, ask.id, ask.model))


class _Ask(Call):
    """One request of a stream. `accepted` turns true once it was not refused at once."""

    __slots__ = ("accepted", "error", "home", "id", "model", "result")

    def __init__(self, method: Method, message: bytes, home: Crossing[_Ask]) -> None:
        super().__init__(method, message)
        self.id, self.model = _identity(self.request)
        self.home = home
        self.accepted = False
        self.error: ServerError | None = None
        self.result: Any = None

    def settle(self, future: asyncio.Future[Any]) -> None:
        self.accepted = True
        super().settle(future)

    def answer(self, result: Any) -> None:
        self.result = result
        self.home.post(self)

    def refuse(self, error: ServerError) -> None:
        self.error = error
        self.home.post(self)


def _identity(request: InferRequest | ServerError) -> tuple[str, tuple[str, str]]:
    """Id, model and version of a request, or of what could be read of one."""
    if isinstance(request, InferRequest | grpc_infer.BadRequestError):
        return request.id, (request.model_name, request.model_version)
    return "", ("", "")


def _encode_final(response: InferResponse) -> bytes:
    try:
        return grpc_infer.encode_stream(response, final=True)
    finally:
        response.release()
