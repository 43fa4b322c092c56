"""ModelStreamInfer: one stream, any number of requests for any models, answered as soon as their answers are there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.access import AccessLog
from pyserver.frontend.grpc.bridge import Bridge, Crossing
from pyserver.frontend.grpc.engine import MAX_MESSAGE, Call, Method, Stream, StreamMethod, encoded
from pyserver.protocol import grpc_infer, status
from pyserver.types import InferRequest, InferResponse

if TYPE_CHECKING:
    from pyserver.model.items import Item, Items

WINDOW = 256
"""Requests that one stream may have accepted and not yet answered. Beyond, it isn't read until its client reads."""


def model_stream_infer(path: str, infer: Method, bridge: Bridge, access: AccessLog | None = None) -> StreamMethod:
    """The streaming twin of `infer`, the method of ModelInfer whose `run` gives a stream of responses.

    `access` gets a line for each request.
    """
    access = access or AccessLog()

    async def serve(stream: Stream) -> None:
        await _Session(stream, infer, bridge, access).serve()

    return StreamMethod(path, serve)


class RefusedError(ServerError):
    """A request to an MLServer model is refused: its responses have no room for an error, so the stream ends."""

    def __init__(self, why: ServerError) -> None:
        super().__init__(why.code, why.message, why.retry_after)
        self.status = why.status


class _Message(NamedTuple):
    """What is to be written: `failure` is set where the client wants the first error as the stream's status.

    `response`, where there is one, counts as read once it is written; `final` says that its request is answered.
    """

    data: bytes
    failure: ServerError | None
    response: InferResponse | None
    final: bool


class _Session:
    """One stream. Read in a task of its own, so that answers go out while the client says nothing."""

    def __init__(self, stream: Stream, infer: Method, bridge: Bridge, access: AccessLog) -> None:
        self._stream = stream
        self._access = access
        self._bridge = bridge
        self._method = infer._replace(encode=grpc_infer.encode_stream_item)
        self._heed = infer.heed
        self._home: Crossing[_Heard] = Crossing(asyncio.get_running_loop(), self._heard)
        self._read_ones: Crossing[InferResponse] = Crossing(bridge.loop, InferResponse.release)
        self._open: set[_Ask] = set()
        self._room = asyncio.Semaphore(WINDOW)
        self._ready: asyncio.Queue[_Message | None] = asyncio.Queue()
        self._aborts = stream.metadata.get("triton_grpc_error") == "true"
        self._over = False

    async def serve(self) -> None:
        """Read, answer and write until the client has said all and got all."""
        reader = asyncio.create_task(self._read())
        try:
            await self._write(reader)
        finally:
            self._over = True
            reader.cancel()
            for ask in self._open:
                ask.gone = True
                self._say(ask, status.GRPC[ErrorCode.CANCELLED])
                self._bridge.put(ask)
            self._bridge.wake()
            while not self._ready.empty():
                self._done_with(self._ready.get_nowait())
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
                continue
            try:
                if message.failure is not None:
                    await self._stream.abort(status.grpc_code(message.failure), message.failure.message)
                elif message.data:
                    await self._stream.write(message.data)
            finally:
                self._done_with(message)

    def _done_with(self, message: _Message | None) -> None:
        if message is None:
            return
        if message.response is not None:
            self._read_ones.post(message.response)
        if message.final:
            self._room.release()

    def _ask(self, message: bytes) -> None:
        ask = _Ask(self._method, message, self._home)
        if self._method.attach is not None:
            self._method.attach(ask.request, list(self._stream.metadata.items()))
        self._open.add(ask)
        if self._heed is not None:
            try:
                self._heed(ask.request, self._stream.metadata)
            except ServerError as error:
                ask.error = error
                self._heard((ask, None))
                return
        self._bridge.post(ask)

    def _heard(self, heard: _Heard) -> None:
        ask, item = heard
        message = self._refusal(ask) if item is None else self._message(ask, *item)
        if message.final and ask in self._open:
            self._open.discard(ask)
            if not self._over:
                self._say(ask, 0 if ask.error is None else status.grpc_code(ask.error))
        if self._over:
            self._done_with(message)
        else:
            self._ready.put_nowait(message)

    def _say(self, ask: _Ask, code: int) -> None:
        """The access log's line of a request: what its responses hold, and the code of the last error among them."""
        if self._access.on:
            seconds = time.monotonic() - ask.began
            self._access.line("-", "grpc", "POST", self._method.path, code, ask.size, seconds, ask.id)

    def _refusal(self, ask: _Ask) -> _Message:
        assert ask.error is not None
        if isinstance(ask.error, RefusedError):
            return _Message(b"", ask.error, None, True)
        return _Message(grpc_infer.encode_stream_error(ask.error, ask.id), None, None, True)

    def _message(self, ask: _Ask, response: InferResponse, final: bool) -> _Message:
        error, data = response.error, b""
        ask.size += sum(len(output.data) for output in response.outputs)
        if error is None and not (response.empty and not ask.empty_final):
            try:
                data = encoded(self._method, (response, final), MAX_MESSAGE)
            except ServerError as failure:
                error = failure
        if error is None:
            return _Message(data, None, response, final)
        ask.error = error
        if self._aborts or _of_mlserver(ask.stream):
            return _Message(b"", error, response, final)
        model = (response.model_name, response.model_version)
        return _Message(grpc_infer.encode_stream_error(error, ask.id, model, final), None, response, final)


def _of_mlserver(stream: Any) -> bool:
    """Whether the responses are MLServer's, which have no room for an error."""
    model = getattr(stream, "model", None)
    return model is not None and bool(model.of_mlserver)


class _Ask(Call):
    """One request of a session."""

    __slots__ = ("began", "empty_final", "error", "home", "id", "size", "stream")

    def __init__(self, method: Method, message: bytes, home: Crossing[_Heard]) -> None:
        super().__init__(method, message)
        request = self.request
        self.id = request.id if isinstance(request, InferRequest | grpc_infer.BadRequestError) else ""
        self.empty_final = isinstance(request, InferRequest) and request.empty_final
        self.home = home
        self.began = time.monotonic()
        self.size = 0
        self.error: ServerError | None = None
        self.stream: Items | None = None

    def done(self, result: Any) -> None:
        """On the main loop: the responses are to come."""
        self.stream = result
        result.listen(lambda item: self.home.post((self, item)))

    def refuse(self, error: ServerError) -> None:
        self.error = error
        self.home.post((self, None))

    def _abandon(self) -> None:
        if self.stream is not None:
            self.stream.cancel()


_Heard = tuple[_Ask, "Item | None"]
