"""POST .../infer on Tornado: large and compressed bodies, and every one where the fast lane doesn't run."""

from __future__ import annotations

import asyncio
import time
from asyncio import CancelledError, Future

from tornado.iostream import StreamClosedError

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.rest import infer
from pyserver.frontend.rest.handler import Handler
from pyserver.frontend.rest.infer import Answer, InferHeaders
from pyserver.frontend.rest.mlserver import Fields
from pyserver.protocol import compression, server_timing
from pyserver.protocol.rest_path import parse_version
from pyserver.types import Buffer, InferRequest, InferResponse

# What is smaller is joined and sent at once; what is larger is sent from where it lies.
_JOINED = 64 * 1024
# Inflating or deflating more than this would hold up everybody else: a thread does it.
_INLINE = 64 * 1024
_LOOKS, _LOOK_EVERY = 5, 0.001


class Infer(Handler):
    """One inference."""

    kind = "inference"
    running: Future[InferResponse] | None = None
    gone = False

    def on_connection_close(self) -> None:
        """The client has gone: nobody waits for the answer."""
        super().on_connection_close()
        self.gone = True
        if self.running is not None:
            self.running.cancel()

    def infer_headers(self) -> InferHeaders:
        """What matters of the request's headers."""
        get = self.request.headers.get
        fields = Fields(list(self.request.headers.get_all()))
        return InferHeaders(
            get(infer.HEADER_LENGTH),
            get("Content-Encoding"),
            self.accepted(),
            get("traceparent"),
            self.forwarded(),
            fields,
        )

    async def post(self, name: str, version: str = "") -> None:
        """`/v2/models/{name}[/versions/{version}]/infer`."""
        version = parse_version(version)
        headers = self.infer_headers()
        body: Buffer = self.body
        if headers.content_encoding and len(body) > _INLINE:
            self.data_plane.check(name, version)
            body = await asyncio.to_thread(
                compression.inflate, headers.content_encoding, body, self.rest.limits.max_input_size
            )
            headers = headers._replace(content_encoding=None)
            if self.gone:
                return
        began = infer.now_if_traced(self.data_plane)
        request = infer.read(self.data_plane, name, version, headers, body, None, self.rest.limits)
        received = (began, infer.now_if_traced(self.data_plane)) if began else ()
        timed = time.monotonic_ns() if server_timing.wanted(self.request.headers.get(server_timing.ASKED)) else 0
        if timed:
            self.data_plane.watch(request)
        self.running = self.data_plane.infer(request, "HTTP", received)
        self.note(request.id)
        try:
            response = await self.running
        except CancelledError:
            raise ServerError(ErrorCode.CANCELLED, f"request to model '{name}' was cancelled") from None
        if timed:
            await self.time(request, timed)
        try:
            await self.send(await self.finished(request, response, headers.accept_encoding))
        except StreamClosedError:
            pass
        finally:
            response.release()

    async def time(self, request: InferRequest, asked_ns: int) -> None:
        """Say where the time since `asked_ns` went. That a batch was executed is told a moment after its answers."""
        total_ns = time.monotonic_ns() - asked_ns
        trace = request.trace
        assert trace is not None
        for _ in range(_LOOKS):
            if trace.together:
                break
            await asyncio.sleep(_LOOK_EVERY)
        self.set_header(server_timing.HEADER, server_timing.encode(trace.events, trace.together, total_ns))

    async def finished(self, request: InferRequest, response: InferResponse, accept_encoding: str | None) -> Answer:
        """`infer.finish`, in a thread where there is much to compress."""
        if accept_encoding and sum(len(tensor.data) for tensor in response.outputs) > _INLINE:
            return await asyncio.to_thread(infer.finish, request, response, accept_encoding)
        return infer.finish(request, response, accept_encoding)

    async def send(self, answer: Answer) -> None:
        """Write `answer`, whose buffers are not needed afterwards. StreamClosedError: the client has gone."""
        self.head_of(answer)
        if answer.size <= _JOINED:
            # Joined, the bytes are ours: whoever owns the buffers need not wait for a slow reader.
            self.finish(b"".join(answer.buffers))
            return
        await self.flush()
        assert self.request.connection is not None
        for buffer in answer.buffers:
            await self.request.connection.write(buffer)  # type: ignore[arg-type]
        await self.finish()
