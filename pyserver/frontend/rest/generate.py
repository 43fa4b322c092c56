"""POST .../generate and .../generate_stream: flat JSON in; one JSON object, or server-sent events, out."""

from __future__ import annotations

from tornado.iostream import StreamClosedError

from pyserver.errors import ServerError, not_found
from pyserver.frontend.rest import mlserver
from pyserver.frontend.rest.infer_handler import Infer
from pyserver.model.items import Items
from pyserver.protocol import compression, mlserver_response, rest_generate, status
from pyserver.protocol.rest_path import parse_version
from pyserver.types import Buffer, InferResponse, OpenRequest

EVENTS = "text/event-stream; charset=utf-8"


class Generation(Infer):
    """What both have in common: a stream that ends when its client goes away."""

    kind = "inference"
    stream: Items | None = None

    def on_connection_close(self) -> None:
        """The client has gone: nobody waits for the rest."""
        super().on_connection_close()
        if self.stream is not None:
            self.stream.cancel()

    async def infer_stream(self, name: str, version: str) -> None:
        """Send the responses of an MLServer model as events; an error after the first is the last event."""
        request = mlserver.read_stream(
            self.data_plane, name, version, self.infer_headers(), self.body, self.rest.limits
        )
        self.stream = stream = self.data_plane.infer_stream(request)
        begun = False
        try:
            async for response, _ in stream:
                try:
                    if response.error is not None and not begun:
                        raise response.error
                    if not begun:
                        self.set_header("Content-Type", EVENTS)
                        self.take_leave()
                        begun = True
                    if not response.empty:
                        self.write(rest_generate.event(_open_event(response, request)))
                    await self.flush()
                finally:
                    response.release()
            self.finish()
        except StreamClosedError:
            pass
        finally:
            stream.cancel()

    def begin(self, name: str, version: str) -> Items:
        """Start what the body asks; ServerError where it can't be."""
        version = parse_version(version)
        specs = self.data_plane.model_inputs(name, version)
        body: Buffer = self.body
        limit = self.rest.limits.max_input_size
        if encoding := self.request.headers.get("Content-Encoding"):
            body = compression.inflate(encoding, body, limit)
        request = rest_generate.decode(body, specs, name, version, limit, self.rest.limits.max_json_depth)
        self.note(request.id)
        parent = self.request.headers.get("traceparent")
        if parent is not None and self.data_plane.traces.on:
            request.parameters["traceparent"] = parent
        request.parameters.update(self.forwarded() or {})
        self.stream = stream = self.data_plane.infer_stream(request)
        return stream


class Generate(Generation):
    """The one response of a model."""

    async def post(self, name: str, version: str = "") -> None:
        """`/v2/models/{name}[/versions/{version}]/generate`; of an MLServer model another name of `infer`."""
        if self.data_plane.of_mlserver(name, parse_version(version)):
            await super().post(name, version)
            return
        stream = self.begin(name, version)
        bodies: list[bytes] = []
        async for response, _ in stream:
            try:
                if response.error is not None:
                    raise response.error
                if not response.empty:
                    bodies.append(rest_generate.encode(response))
            finally:
                response.release()
            if len(bodies) > 1:
                break
        stream.cancel()
        self.reply(bodies[0] if len(bodies) == 1 else status.error_body(rest_generate.CARDINALITY))


class GenerateStream(Generation):
    """All responses of a model, each as an event as soon as it is there."""

    async def post(self, name: str, version: str = "") -> None:
        """`/v2/models/{name}[/versions/{version}]/generate_stream`."""
        if self.data_plane.of_mlserver(name, parse_version(version)):
            await self.infer_stream(name, parse_version(version))
            return
        stream = self.begin(name, version)
        self.set_header("Content-Type", EVENTS)
        self.take_leave()
        begun = False
        try:
            async for response, _ in stream:
                try:
                    if response.error is not None and not begun:
                        self.set_status(status.HTTP[response.error.code])
                    begun = True
                    if not response.empty:
                        self.write(rest_generate.event(_encoded(response)))
                        await self.flush()
                finally:
                    response.release()
            self.finish()
        except StreamClosedError:
            pass
        finally:
            stream.cancel()


class InferStream(GenerateStream):
    """MLServer's name of `generate_stream`."""

    async def post(self, name: str, version: str = "") -> None:
        """`/v2/models/{name}[/versions/{version}]/infer_stream`; ServerError (404) but for MLServer's models."""
        if not self.data_plane.of_mlserver(name, parse_version(version)):
            raise not_found(f"model '{name}' is not MLServer's: ask for its stream at generate_stream")
        await self.infer_stream(name, parse_version(version))


def _open_event(response: InferResponse, request: OpenRequest) -> bytes:
    if response.error is not None:
        return status.error_body(response.error.message)
    try:
        return mlserver_response.encode_event(response, request)
    except ServerError as error:
        return status.error_body(error.message)


def _encoded(response: InferResponse) -> bytes:
    try:
        return rest_generate.encode(response)
    except ServerError as error:
        return status.error_body(error.message)
