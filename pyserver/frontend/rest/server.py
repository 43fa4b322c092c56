"""The REST listener: bound, started, and ended in order."""

from __future__ import annotations

import errno
import socket
import sys

from tornado.netutil import bind_sockets

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.rest.app import RestApplication
from pyserver.frontend.rest.connections import DrainingServer
from pyserver.frontend.rest.limits import Limits


def listen(address: str, port: int, reuse_port: bool = False) -> list[socket.socket]:
    """Sockets that listen on `address` and `port` (0: a free one). ServerError says which could not be had, and why."""
    where = f"'{address}:{port}'"
    try:
        return bind_sockets(port, address, reuse_port=reuse_port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServerError(ErrorCode.UNAVAILABLE, f"Socket {where} already in use") from None
        raise ServerError(ErrorCode.INTERNAL, f"Socket {where} can't be listened on: {error.strerror}") from None


class RestServer:
    """An HTTP server for `app` on Tornado's own connections."""

    def __init__(self, app: RestApplication, address: str, port: int, limits: Limits, reuse_port: bool = False) -> None:
        self._app = app
        self._address = address
        self._port = port
        self._reuse_port = reuse_port
        self._sockets: list[socket.socket] = []
        self._server = DrainingServer(
            app,
            max_header_size=limits.max_header_size,
            # The handlers refuse what is too large, in words; Tornado would do it without one.
            max_body_size=sys.maxsize,
            idle_connection_timeout=limits.idle_timeout,
            body_timeout=limits.body_timeout,
        )

    @property
    def port(self) -> int:
        """The port listened on."""
        return int(self._sockets[0].getsockname()[1]) if self._sockets else self._port

    def start(self) -> None:
        """Listen. ServerError where the port is taken."""
        self._sockets = listen(self._address, self._port, self._reuse_port)
        self._server.add_sockets(self._sockets)

    def stop_accepting(self) -> None:
        """No new connection; open ones are told with each answer that it is their last."""
        self._app.closing = True
        self._server.stop()

    async def drain(self, timeout: float) -> bool:
        """Finish what was accepted and close all connections, within `timeout` seconds; False if some were cut."""
        finished = await self._server.drain(timeout)
        await self._server.close_all_connections()
        return finished
