"""One request that the Tornado application answers, over a connection of the lane: Tornado's `HTTPConnection`."""

from __future__ import annotations

import logging
from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from tornado import gen
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPOutputError,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError

from pyserver.errors import ServerError, invalid
from pyserver.frontend.rest.lane.answer import connection_line
from pyserver.frontend.rest.lane.head import Head

log = logging.getLogger(__name__)

_BODYLESS = frozenset((204, 304))


class Carrier(Protocol):
    """What an exchange needs of the connection that it runs over."""

    loop: Any

    def write(self, data: bytes) -> bool:
        """Send `data`; False while not all that was written has been sent."""

    def hold(self) -> None:
        """Take no more input until `go_on`."""

    def go_on(self) -> None:
        """Take input again."""

    def persists(self, head: Head | None) -> bool:
        """Whether the connection stays open after the answer to `head`."""

    def exchange_over(self, keep: bool) -> None:
        """The answer has been written; without `keep` the connection closes."""

    def refuse(self, error: ServerError) -> None:
        """Answer with `error` and close."""

    def abort(self) -> None:
        """Close at once."""


class Context:
    """What Tornado's requests read as `connection.context`."""

    def __init__(self, remote_ip: str) -> None:
        self.remote_ip = remote_ip
        self.protocol = "http"

    def __str__(self) -> str:
        return self.remote_ip


class Exchange(HTTPConnection):
    """A request handed to `application`, and its answer.

    The connection calls `begin`, `data` for each piece of the body, `end`; and `sent` or `lost` when all that was
    written has been sent, or never will be. The application calls the methods of `HTTPConnection`.
    """

    def __init__(self, carrier: Carrier, head: Head, application: HTTPServerConnectionDelegate, remote_ip: str) -> None:
        self.context = Context(remote_ip)
        self.status = 0
        self.size = 0
        self.request_id = ""
        self.written = False
        self._carrier = carrier
        self.head = head
        self._delegate: HTTPMessageDelegate = application.start_request(carrier, self)
        self._keep = head.keep_alive
        self._chunked = False
        self._left: int | None = None
        self._read = False
        self._over = False
        self._lost = False
        self._waits: Future[Any] | None = None
        self._write_future: Future[None] | None = None
        self._close_callback: Callable[[], None] | None = None

    # The connection's side.

    def begin(self) -> None:
        """The headers are there."""
        head = self.head
        line = RequestStartLine(head.method, head.target, "HTTP/1.0" if head.http_1_0 else "HTTP/1.1")
        self._deliver(lambda: self._delegate.headers_received(line, self._headers()))

    def _headers(self) -> HTTPHeaders:
        headers = HTTPHeaders()
        for name, value in self.head.texts():
            headers.add(name, value)
        return headers

    def data(self, piece: bytes) -> None:
        """A piece of the body; dropped once the application has answered."""
        if not self._over:
            self._deliver(lambda: self._delegate.data_received(piece))

    def end(self) -> None:
        """The body is complete."""
        self._read = True
        if self._waits is None and not self._over:
            self._deliver(self._delegate.finish)

    def sent(self) -> None:
        """Everything written so far is the kernel's."""
        future, self._write_future = self._write_future, None
        if future is not None and not future.done():
            future.set_result(None)

    def lost(self) -> None:
        """The connection is gone, or the client's half of it in the middle of the request."""
        if self._lost or self._over:
            return
        self._lost = True
        if self._write_future is not None and not self._write_future.done():
            self._write_future.set_exception(StreamClosedError())
            self._write_future.exception()
        callback, self._close_callback = self._close_callback, None
        self._guarded(self._delegate.on_connection_close if not self._read else callback)

    def _deliver(self, call: Callable[[], Awaitable[None] | None]) -> None:
        """Tell the delegate something; where it wants time, the connection waits."""
        waits = self._guarded(call)
        if waits is not None:
            self._waits = gen.convert_yielded(waits)
            self._carrier.hold()
            self._waits.add_done_callback(self._delivered)

    def _delivered(self, future: Future[Any]) -> None:
        self._waits = None
        self._guarded(future.result)
        if self._lost or self._over:
            return
        if self._read:
            self._deliver(self._delegate.finish)
        else:
            self._carrier.go_on()

    def _guarded(self, call: Callable[[], Any] | None) -> Any:
        """Call; what the application raises costs the connection, as in Tornado's own server."""
        try:
            return call() if call is not None else None
        except HTTPInputError as error:
            self._over = True
            self._carrier.refuse(invalid(str(error)))
        except Exception:
            log.exception("%s %s failed", self.head.method, self.head.target)
            self._over = True
            self._carrier.abort()
        return None

    # The application's side: HTTPConnection.

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> Future[None]:
        """Send the status line and headers, and `chunk`; the future is done when the kernel has them."""
        assert isinstance(start_line, ResponseStartLine)
        self.written = True
        self.status = start_line.code
        length = headers.get("Content-Length")
        bodyless = start_line.code in _BODYLESS or start_line.code < 200 or self.head.method == "HEAD"
        self._chunked = not self.head.http_1_0 and length is None and not bodyless
        self._left = (
            0 if self.head.method == "HEAD" or start_line.code == 304 else None if length is None else int(length)
        )
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        # An answer that only its end delimits; and where the application doesn't want the rest of the body.
        endless = length is None and not self._chunked and not bodyless
        self._keep = self._carrier.persists(self.head) and not endless
        return self._write(_head_bytes(start_line, headers, connection_line(self._keep, self.head.http_1_0)), chunk)

    def write(self, chunk: bytes) -> Future[None]:
        """Send a piece of the answer's body; the future is done when the kernel has it."""
        return self._write(b"", chunk)

    def _write(self, head: bytes, chunk: bytes | None) -> Future[None]:
        future: Future[None] = self._carrier.loop.create_future()
        if self._lost:
            future.set_exception(StreamClosedError())
            future.exception()
        elif self._carrier.write(head + self._frame(chunk or b"")):
            future.set_result(None)
        else:
            self.sent()
            self._write_future = future
        return future

    def _frame(self, chunk: bytes) -> bytes:
        self.size += len(chunk)
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                self._carrier.abort()
                raise HTTPOutputError("Tried to write more data than Content-Length")
        return b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked and chunk else chunk

    def finish(self) -> None:
        """The answer is complete."""
        if self._lost or self._over:
            return
        if self._left:
            self._carrier.abort()
            raise HTTPOutputError(f"Tried to write {self._left} bytes less than Content-Length")
        self._over = True
        if self._chunked:
            self._carrier.write(b"0\r\n\r\n")
        self._close_callback = None
        if not self._read:
            self._carrier.loop.call_soon(self._guarded, self._delegate.on_connection_close)
        # What the application left unread of the body would be taken for the next request.
        self._carrier.exchange_over(self._keep and self._read)

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """`callback` is called if the client goes away between its request and the end of the answer."""
        self._close_callback = callback

    def set_max_body_size(self, max_body_size: int) -> None:
        """The lane's limits hold."""

    def set_body_timeout(self, timeout: float) -> None:
        """The lane's limits hold."""

    def detach(self) -> Any:
        """Nothing is tunnelled here."""
        raise NotImplementedError("the lane doesn't give its connections away")


def _head_bytes(start_line: ResponseStartLine, headers: HTTPHeaders, connection: bytes) -> bytes:
    """ValueError for a line break in what an application put into a header."""
    lines = [f"HTTP/1.1 {start_line.code} {start_line.reason}"]
    lines.extend(f"{name}: {value}" for name, value in headers.get_all() if name != "Connection" or not connection)
    for line in lines:
        if "\r" in line or "\n" in line:
            raise ValueError(f"illegal characters (CR or LF) in header: {line!r}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n" + connection + b"\r\n"
