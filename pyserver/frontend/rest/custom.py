"""Routes of MLServer models' own (`custom_handler`), there while their model is loaded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher
from tornado.web import HTTPError

from pyserver.errors import ErrorCode, ServerError, unavailable
from pyserver.frontend.rest.handler import Handler
from pyserver.protocol import compression, custom_route, status
from pyserver.types import InferResponse

if TYPE_CHECKING:
    from pyserver.dataplane import DataPlane
    from pyserver.model.model import Model

LONGEST = 300.0
"""Seconds that a handler may take, its turn among the model's requests included."""


class Route(NamedTuple):
    """A route that a path has led to: its number among the model's, and the values of its placeholders."""

    model: Model
    label: str
    number: int
    path: dict[str, str]


def find(data_plane: DataPlane, method: str, path: str) -> tuple[Route | None, set[str]]:
    """The first route of `path`, by age of the model, that is for `method`, and the methods that others are for."""
    methods = set()
    for _, label, model in sorted(data_plane.models_of_mlserver(), key=lambda each: each[2].number):
        for number, route in enumerate(model.instances.handlers):
            values = custom_route.match(route["path"], path)
            if values is None:
                continue
            if route["method"] == method:
                return Route(model, label, number, values), set()
            methods.add(route["method"])
    return None, methods


class Matches(Matcher):
    """Matches the paths of all handlers that there are at the moment."""

    def __init__(self, data_plane: DataPlane) -> None:
        self._data_plane = data_plane

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Nothing for the handler's method, which looks for itself once the body is there; None for another path."""
        place, methods = find(self._data_plane, request.method or "", request.path)
        return None if place is None and not methods else {}


class Custom(Handler):
    """One call of a handler."""

    kind = "inference"
    running: asyncio.Future[InferResponse] | None = None

    def on_connection_close(self) -> None:
        """The client has gone: nobody waits for the answer."""
        super().on_connection_close()
        if self.running is not None:
            self.running.cancel()

    async def answer(self) -> None:
        """Any method, on any path that a model has a handler for."""
        place, methods = find(self.data_plane, self.request.method or "", self.request.path)
        if place is None:
            if not methods:
                raise HTTPError(status.NOT_FOUND)
            self.set_header("Allow", ", ".join(sorted(methods)))
            text = status.error_body(status.http_reason(status.METHOD_NOT_ALLOWED))
            self.reply(text, status_code=status.METHOD_NOT_ALLOWED)
            return
        model = place.model
        encoding = self.request.headers.get("Content-Encoding", "")
        body = bytes(compression.inflate(encoding, self.body, self.rest.limits.max_input_size))
        request = custom_route.request(
            model.name, place.label, place.number, place.path, self.request.query, self.request.headers.get_all(), body
        )
        self.running = model.infer(request, checked=1)  # neither cached, nor to be checked
        try:
            response = await asyncio.wait_for(self.running, LONGEST)
        except TimeoutError:
            raise unavailable(
                f"model '{model.name}': its handler of '{self.request.path}' did not answer within {LONGEST:g} s"
            ) from None
        except asyncio.CancelledError:
            raise ServerError(ErrorCode.CANCELLED, f"request to model '{model.name}' was cancelled") from None
        try:
            made = custom_route.answer(response)
        finally:
            response.release()
        self.set_status(made.status, status.http_reason(made.status))
        for name, value in made.headers:
            self.set_header(name, value)
        self.take_leave()
        self.finish(made.body)

    get = post = put = delete = patch = options = head = answer
