"""Tornado's HTTP server, with a list of who is in the middle of a request: an orderly end waits for those alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine


class DrainingServer(HTTPServer):
    """An `HTTPServer` that can finish what it has begun and drop what only waits."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """As `HTTPServer`, which is made by this and not by `__init__`."""
        super().initialize(*args, **kwargs)
        self._idle: dict[object, HTTPConnection] = {}
        self._busy: dict[object, HTTPConnection] = {}
        self._draining = False
        self._quiet = asyncio.Event()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """`server_conn` waits for a request: its first, or the next, its last one answered to the last byte."""
        self._forget(server_conn)
        self._idle[server_conn] = request_conn
        if self._draining:
            close(request_conn)
        return _Message(super().start_request(server_conn, request_conn), self, server_conn)

    def on_close(self, server_conn: object) -> None:
        """`server_conn` is no more."""
        super().on_close(server_conn)
        self._idle.pop(server_conn, None)
        self._forget(server_conn)

    def began(self, server_conn: object) -> None:
        """The headers of a request have come on `server_conn`."""
        self._busy[server_conn] = self._idle.pop(server_conn)

    def close_idle(self) -> None:
        """Close what waits, and from now on what has waited out its answer."""
        self._draining = True
        for connection in list(self._idle.values()):
            close(connection)

    async def drain(self, timeout: float) -> None:
        """Wait until every request is answered; cut those that `timeout` seconds were not enough for."""
        self.close_idle()
        if not self._busy:
            return
        self._quiet.clear()
        try:
            await asyncio.wait_for(self._quiet.wait(), timeout)
        except asyncio.TimeoutError:
            for connection in list(self._busy.values()):
                close(connection)

    def _forget(self, server_conn: object) -> None:
        self._busy.pop(server_conn, None)
        if not self._busy:
            self._quiet.set()


class _Message(HTTPMessageDelegate):
    """One request on its way to the application."""

    def __init__(self, inner: HTTPMessageDelegate, server: DrainingServer, server_conn: object) -> None:
        self._inner = inner
        self._server = server
        self._server_conn = server_conn

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._server.began(self._server_conn)
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()


def close(connection: HTTPConnection) -> None:
    """End `connection` at once; its own `close` would not tell the handler, which then goes on waiting."""
    connection.stream.close()  # type: ignore[attr-defined]
