"""The REST front end: bound, started, and ended in order."""

from __future__ import annotations

import errno
import socket
import sys
from typing import TYPE_CHECKING

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.rest.app import RestApplication
from pyserver.frontend.rest.connections import DrainingServer
from pyserver.frontend.rest.limits import Limits
from pyserver.settings import Settings

if TYPE_CHECKING:
    from pyserver.controlplane import ControlPlane
    from pyserver.dataplane import DataPlane

BACKLOG = 1024
"""Connections that the kernel may hold until they are accepted."""


class RestServer:
    """HTTP on `--http-address` and `--http-port`."""

    title = "HTTPService"

    def __init__(self, data_plane: DataPlane, control_plane: ControlPlane, settings: Settings) -> None:
        self.address = settings.http_address
        self.port = settings.http_port
        self._reuse_port = settings.reuse_http_port
        limits = limits_of(settings)
        self._app = RestApplication(data_plane, control_plane, limits)
        self._server = DrainingServer(
            self._app,
            max_header_size=limits.max_header_size,
            # The handlers refuse what is too large, in words; Tornado would do it without one.
            max_body_size=sys.maxsize,
            idle_connection_timeout=limits.idle_timeout,
            body_timeout=limits.body_timeout,
        )

    async def start(self) -> None:
        """Listen; from then on `port` is the real one. ServerError where it can't be had."""
        listening = listen(self.address, self.port, self._reuse_port)
        self.port = int(listening.getsockname()[1])
        self._server.add_socket(listening)

    def stop_accepting(self) -> None:
        """No new connection; those that rest are closed, the others told with their next answer that it is the last."""
        self._app.closing = True
        self._server.stop()
        self._server.close_idle()

    async def drain(self, timeout: float) -> None:
        """Answer what was accepted, for `timeout` seconds at most, then close everything."""
        await self._server.drain(timeout)
        await self._server.close_all_connections()


def limits_of(settings: Settings) -> Limits:
    """The limits that the operator has set."""
    return Limits(
        max_body_size=settings.http_max_body_size,
        max_input_size=settings.http_max_input_size,
        max_header_size=settings.http_max_header_size,
        max_connections=settings.http_max_connections,
        idle_timeout=settings.http_idle_timeout_secs,
        header_timeout=settings.http_read_timeout_secs,
        stall_timeout=settings.http_read_timeout_secs,
    )


def listen(address: str, port: int, reuse_port: bool = False) -> socket.socket:
    """A socket that listens on `address` and `port` (0: a free one). ServerError says why it could not be had."""
    where = f"'{address}:{port}'"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        made = socket.create_server((address, port), family=family, backlog=BACKLOG, reuse_port=reuse_port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServerError(ErrorCode.UNAVAILABLE, f"Socket {where} already in use") from None
        raise ServerError(ErrorCode.INTERNAL, f"Socket {where} can't be listened on: {error.strerror}") from None
    made.setblocking(False)
    return made
