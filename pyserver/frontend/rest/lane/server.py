"""The server of the lane: its socket, what its connections share, their clock, and their end."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPServerConnectionDelegate

from pyserver.errors import ServerError, unavailable
from pyserver.frontend.address import listen
from pyserver.frontend.rest.lane.answer import BufferWriter, is_uvloop, write_in_turn, writer_for
from pyserver.frontend.rest.lane.connection import Connection
from pyserver.frontend.rest.lane.head import Head
from pyserver.frontend.rest.lane.watch import LINGER
from pyserver.frontend.rest.limits import Limits
from pyserver.frontend.tls import TlsFiles, context
from pyserver.protocol import compression, server_timing
from pyserver.protocol.forwarding import Forwarding

if TYPE_CHECKING:
    from pyserver.dataplane import DataPlane

AccessLog = Callable[[str, str, str, int, int, float, str], None]
"""Called after each answer: client's address, method, target, status, bytes of the body, seconds since the request came
(0 where that was not noted), the request's id."""

_TIMING = server_timing.ASKED.lower().encode()
_RECEIVED_AT_ONCE = 64 * 1024
_BACKLOG = 1024
_MAX_HEADS = 1024
_MAX_REMEMBERED = 2048
_BEATS = 8
"""The connections are looked at in so many groups, one after another, each once a second."""
_LOOKS = 50
"""So many of them in one turn of the loop: with thousands of idle connections nobody waits for all to be looked at."""
_BEYOND = 64
"""How many connections over the limit may be open just to be told so."""


class LaneServer:
    """Serves HTTP/1.1 at `address`:`port` (0 for any free port); HTTPS with `tls`.

    Inferences go to `data_plane`, all else to `application`; so does an inference whose head makes `divert` true, for
    what only the application knows to do (it is asked once a head, not once a request). `forwarding` says which headers
    models get. `compresses` says that whoever accepts it gets compressed answers, which the application makes.
    `access_log` hears of every answer; the application itself should then log none.
    """

    def __init__(
        self,
        application: HTTPServerConnectionDelegate,
        data_plane: DataPlane,
        address: str,
        port: int,
        limits: Limits,
        *,
        access_log: AccessLog | None = None,
        divert: Callable[[Head], bool] | None = None,
        reuse_port: bool = False,
        tls: TlsFiles | None = None,
        forwarding: Forwarding | None = None,
        compresses: bool = True,
    ) -> None:
        self.application = application
        self.data_plane = data_plane
        self.limits = limits
        self.access_log = access_log
        self.loop: asyncio.AbstractEventLoop
        self.write_buffers: BufferWriter = write_in_turn
        # One read is used up before the next begins, so one buffer serves all connections.
        self.buffer = bytearray(_RECEIVED_AT_ONCE)
        self.view = memoryview(self.buffer)
        self.heads: dict[bytes, Head] = {}
        self._address = address
        self._port = port
        self._divert = divert
        self._forwarding = forwarding
        self._compresses = compresses
        self._reuse_port = reuse_port
        self._tls = tls
        self.secure = tls is not None
        self._servers: list[asyncio.Server] = []
        self._groups: list[set[Connection]] = [set() for _ in range(_BEATS)]
        self._admitted = 0
        self._beat = 0
        self._timer: asyncio.TimerHandle | None = None
        self._winding_down = False
        self._draining = False
        self._empty = asyncio.Event()

    async def start(self) -> None:
        """Listen. ServerError if the port is taken, or a file of `tls` no good."""
        self.loop = asyncio.get_running_loop()
        how = self._how_to_serve()
        self.write_buffers = writer_for(self.loop)
        sockets = listen(self._address, self._port, self._reuse_port)
        self._port = int(sockets[0].getsockname()[1])
        for bound in sockets:
            self._servers.append(await self.loop.create_server(self._connection, sock=bound, backlog=_BACKLOG, **how))
        self._timer = self.loop.call_later(1 / _BEATS, self._tick)

    def _how_to_serve(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        how: dict[str, Any] = {"ssl": context(self._tls), "ssl_handshake_timeout": self.limits.header_timeout}
        if sys.version_info >= (3, 11) or is_uvloop(self.loop):
            how["ssl_shutdown_timeout"] = LINGER
        return how

    @property
    def port(self) -> int:
        """The port that is listened to."""
        return self._port

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(map(len, self._groups))

    def in_progress(self) -> dict[str, int]:
        """How many requests are not answered yet, by method."""
        return Counter(head.method for connection in self._all() for head in connection.unanswered())

    def _connection(self) -> Connection:
        return Connection(self)

    def stop_accepting(self) -> None:
        """Refuse new connections. Those that are open go on."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def drain(self, timeout: float) -> int:
        """Answer what has been asked and close all connections, idle ones at once; after `timeout` seconds, abort.

        Returns how many had to be aborted.
        """
        self.stop_accepting()
        self._winding_down = True
        for connection in self._all():
            connection.wind_down()
        # What has reached our sockets by now has been asked: let the loop read it.
        for _ in range(2):
            await asyncio.sleep(0)
        self._draining = True
        for connection in self._all():
            connection.settle()
        late = 0
        if self._all():
            try:
                await asyncio.wait_for(self._empty.wait(), timeout)
            except asyncio.TimeoutError:
                late = await self._abort()
        if self._timer is not None:
            self._timer.cancel()
        return late

    async def _abort(self) -> int:
        late = self._all()
        for connection in late:
            connection.abort()
        if late:
            await self._empty.wait()
        return len(late)

    def _all(self) -> list[Connection]:
        return [connection for group in self._groups for connection in group]

    # What the connections ask.

    def admit(self, connection: Connection) -> ServerError | None:
        """A new connection; what to refuse it with, if there is no room."""
        self._admitted += 1
        self._groups[self._admitted % _BEATS].add(connection)
        limit, count = self.limits.max_connections, self.connections
        if self._draining:
            return unavailable("Server exiting")
        if self._winding_down:
            connection.wind_down()
        if count <= limit:
            return None
        if count > limit + _BEYOND:
            connection.abort()
        return unavailable(
            f"{limit} connections are open, the maximum allowed. Use --http-max-connections to increase the limit."
        )

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        for group in self._groups:
            group.discard(connection)
        if self._draining and not self.connections:
            self._empty.set()

    def diverts(self, head: Head) -> bool:
        """Whether the application answers an inference: compressed bodies, timed ones, and what `divert` says."""
        assert head.infer is not None
        encoding, accepted = head.infer.content_encoding, head.infer.accept_encoding
        if (encoding or "identity").lower() != "identity" or (
            accepted and self._compresses and compression.choose(accepted)
        ):
            return True
        if any(name.lower() == _TIMING for name, _ in head.fields):
            return True
        if self._divert is not None and self._divert(head):
            return True
        return self._forwarding is not None and not self._forward(head, self._forwarding)

    def _forward(self, head: Head, forwarding: Forwarding) -> bool:
        """Note the headers that the model gets; False where one may not be a parameter, which the application says."""
        assert head.infer is not None
        try:
            head.infer = head.infer._replace(forwarded=forwarding.parameters(head.texts()))
        except ServerError:
            return False
        return True

    def remember(self, block: bytes, head: Head) -> None:
        """Clients send the same head again and again: parse it once. Long ones, and ever new ones, aren't worth it."""
        if len(block) > _MAX_REMEMBERED:
            return
        if len(self.heads) >= _MAX_HEADS:
            self.heads.clear()
        self.heads[block] = head

    def log_answer(self, remote_ip: str, head: Head, status: int, size: int, started: float, request: str = "") -> None:
        """Tell the access log."""
        if self.access_log is not None:
            seconds = monotonic() - started if started else 0.0
            self.access_log(remote_ip, head.method, head.target, status, size, seconds, request)

    # Time.

    def _tick(self) -> None:
        self._timer = self.loop.call_later(1 / _BEATS, self._tick)
        self._beat = (self._beat + 1) % _BEATS
        self._look_at(list(self._groups[self._beat]))

    def _look_at(self, waiting: list[Connection]) -> None:
        """Look at some, and at the others after whatever else has come by then."""
        now = self.loop.time()
        for connection in waiting[-_LOOKS:]:
            connection.check_time(now)
        del waiting[-_LOOKS:]
        if waiting:
            self.loop.call_soon(self._look_at, waiting)

    def check_time(self, now: float) -> None:
        """Look at every connection as if it were `now` (the loop's time, seconds)."""
        for connection in self._all():
            connection.check_time(now)
