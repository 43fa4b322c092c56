"""What all handlers have in common: bodies within limits, JSON errors, no header that Triton doesn't send."""

from __future__ import annotations

import re
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import orjson
from tornado.web import HTTPError, RequestHandler, stream_request_body

from pyserver.errors import ServerError
from pyserver.frontend.rest import infer, limits
from pyserver.frontend.rest.infer import Answer
from pyserver.frontend.rest.lane.exchange import Exchange
from pyserver.protocol import status

if TYPE_CHECKING:
    from pyserver.controlplane.controlplane import ControlPlane
    from pyserver.dataplane import DataPlane
    from pyserver.frontend.rest.app import RestApplication

# Whatever else a Content-Length may be, Tornado refuses it.
_NUMBER = re.compile("[0-9]{1,18}")


@stream_request_body
class Handler(RequestHandler):
    """A route. The body is collected here, not by Tornado, which would parse it as a form where curl calls it one.

    `kind` is what `--http-restricted-api` calls what the route does; "" for a path that does nothing.
    """

    kind: str
    body: bytearray
    _chunks: int
    _early = False

    @property
    def rest(self) -> RestApplication:
        """The application with its planes and limits."""
        return cast("RestApplication", self.application)

    @property
    def data_plane(self) -> DataPlane:
        """What answers about models and runs them."""
        return self.rest.data_plane

    @property
    def control_plane(self) -> ControlPlane:
        """What loads and unloads models."""
        return self.rest.control_plane

    def initialize(self) -> None:
        """Nothing of the body has come yet."""
        self.body = bytearray()
        self._chunks = 0

    def set_default_headers(self) -> None:
        """Content-Type and Content-Length are all that a client gets, but for leave to read the answer."""
        for name in ("Server", "Date", "Content-Type"):
            self.clear_header(name)
        origin = self.request.headers.get("Origin")
        if origin and self.rest.cors is not None:
            for name, value in self.rest.cors.headers(origin):
                self.set_header(name, value)

    def compute_etag(self) -> str | None:
        """No Etag: nobody caches an answer of a model server."""
        return None

    def prepare(self) -> None:
        """The headers are here: refuse who may not ask, and a body that says it is too large before it is sent.

        The question of a browser whether a page may ask is answered at once.
        """
        if self.request.method == "OPTIONS" and self._answers_preflight():
            return
        self.rest.restrictions.check(self.kind, self.request.headers.get)
        size = self.request.headers.get("Content-Length", "0")
        if _NUMBER.fullmatch(size) and int(size) > self.rest.limits.max_body_size:
            self._early = True
            raise limits.body_too_large(int(size), self.rest.limits)

    def _answers_preflight(self) -> bool:
        get = self.request.headers.get
        origin, method = get("Origin"), get("Access-Control-Request-Method")
        if self.rest.cors is None or not origin or not method:
            return False
        code, headers, text = self.rest.cors.preflight(origin, method, get("Access-Control-Request-Headers", ""))
        for name, value in headers:
            self.set_header(name, value)
        self.reply(text.encode(), "text/plain; charset=utf-8", code)
        return True

    def data_received(self, chunk: bytes) -> None:
        """One more piece of the body."""
        if self._finished:
            return
        self.body += chunk
        self._chunks += "Transfer-Encoding" in self.request.headers
        if len(self.body) > self.rest.limits.max_body_size:
            self.refuse(limits.body_too_large(len(self.body), self.rest.limits))
        elif self._chunks > self.rest.limits.max_chunks:
            self.refuse(limits.too_many_chunks(self.rest.limits))

    def forwarded(self) -> dict[str, str] | None:
        """The headers that the model gets as parameters, None for none. ServerError where one may not be one."""
        forwarding, connection = self.rest.forwarding, self.request.connection
        if forwarding is None:
            return None
        # Tornado spells names in its own way; the lane knows how they were sent.
        sent = connection.head.texts() if isinstance(connection, Exchange) else self.request.headers.get_all()
        return forwarding.parameters(sent)

    def accepted(self) -> str | None:
        """The client's Accept-Encoding, None where answers are not to be compressed."""
        return self.request.headers.get("Accept-Encoding") if self.rest.compresses else None

    def refuse(self, error: ServerError) -> None:
        """Answer with `error` before the body has ended, which ends the connection."""
        self.body = bytearray()
        self._early = True
        self.send_error(status.http_status(error), exc_info=(type(error), error, None))

    def note(self, request_id: str) -> None:
        """Remember the id of the request, for the access log."""
        if isinstance(self.request.connection, Exchange):
            self.request.connection.request_id = request_id

    def reply(self, body: bytes = b"", content_type: str = infer.JSON, status_code: int = status.OK) -> None:
        """Answer with `body`; without a content type where there is none."""
        self.set_status(status_code)
        if body:
            self.set_header("Content-Type", content_type)
        self.take_leave()
        self.finish(body)

    def reply_json(self, value: object) -> None:
        """Answer with `value` as compact JSON."""
        self.reply(orjson.dumps(value))

    def head_of(self, answer: Answer) -> None:
        """Take status and headers from `answer`."""
        self.set_status(answer.status, status.http_reason(answer.status))
        for name, value in answer.headers():
            self.set_header(name, value)
        self.take_leave()

    def take_leave(self) -> None:
        """Say so where this is the last answer on its connection."""
        if self.rest.closing or self._early:
            self.set_header("Connection", "close")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """`{"error": ...}` for whatever was raised."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if error is None or isinstance(error, HTTPError):
            if status_code == status.METHOD_NOT_ALLOWED:
                self.set_header("Allow", ", ".join(self._methods()))
            self.reply(status.error_body(status.http_reason(status_code)), status_code=status_code)
            return
        answer = infer.failure(error)
        self.head_of(answer)
        self.finish(b"".join(answer.buffers))

    def _methods(self) -> list[str]:
        """The methods that this route has, as HTTP calls them."""
        missing = RequestHandler._unimplemented_method
        return [method for method in self.SUPPORTED_METHODS if getattr(type(self), method.lower()) is not missing]

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Nothing here: `infer.failure` logs what is our own mistake, and a client's is told to the client."""


class NotFound(Handler):
    """A path that is none of ours."""

    kind = ""

    def answer(self) -> None:
        """404 for every method that HTTP knows."""
        raise HTTPError(status.NOT_FOUND)

    get = post = put = delete = patch = options = head = answer
