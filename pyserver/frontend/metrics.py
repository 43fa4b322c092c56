"""The metrics port: GET /metrics, in Prometheus' text format."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, ErrorHandler, RequestHandler

from pyserver.frontend.address import try_bind
from pyserver.protocol.metrics import (
    CONTENT_TYPE,
    HostSample,
    ModelSample,
    parse_cpu,
    parse_memory,
    render,
)
from pyserver.types import Clock

PROC = Path("/proc")


class Source(Protocol):
    """Where the counters come from; called on the main loop."""

    def metrics(self) -> Iterable[ModelSample]:
        """A sample for each model version that is loaded."""


class Host:
    """CPU and memory of the machine, read at most once an interval: utilization is what the last interval saw."""

    def __init__(self, interval_ms: int = 2000, clock: Clock = time.monotonic_ns, proc: Path = PROC) -> None:
        self._interval_ns = interval_ms * 1_000_000
        self._clock = clock
        self._proc = proc
        self._read_ns = clock()
        self._busy, self._all = parse_cpu((proc / "stat").read_text())
        self._last = HostSample(0.0, *parse_memory((proc / "meminfo").read_text()))

    def sample(self) -> HostSample:
        """The newest sample; zero utilization before the first interval is over."""
        now = self._clock()
        if now - self._read_ns >= self._interval_ns:
            busy, total = parse_cpu((self._proc / "stat").read_text())
            share = (busy - self._busy) / max(1, total - self._all)
            self._last = HostSample(round(share, 4), *parse_memory((self._proc / "meminfo").read_text()))
            self._read_ns, self._busy, self._all = now, busy, total
        return self._last


class MetricsServer:
    """Serves the counters of `source` on a port of its own, on the loop that calls `start`.

    `host` None leaves the machine's own metrics out.
    """

    def __init__(self, source: Source, address: str, port: int, host: Host | None = None) -> None:
        self._address = address
        self.port = port
        self._server = HTTPServer(_application(source, host), max_body_size=0, max_header_size=16384)

    def start(self) -> None:
        """Listen. OSError if the address can't be bound; `port` is then the one bound, which matters where it was 0."""
        try_bind(self._address, self.port)
        sockets = bind_sockets(self.port, self._address or None, family=socket.AF_UNSPEC)
        self.port = sockets[0].getsockname()[1]
        self._server.add_sockets(sockets)

    async def stop(self) -> None:
        """Close the port and its connections."""
        self._server.stop()
        await self._server.close_all_connections()


class _Metrics(RequestHandler):
    def initialize(self, source: Source, host: Host | None) -> None:
        self._source = source
        self._host = host

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE)
        self.write(render(self._source.metrics(), self._host and self._host.sample()))


class _NotFound(ErrorHandler):
    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def write_error(self, status_code: int, **kwargs: object) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: only /metrics is here\n")


def _application(source: Source, host: Host | None) -> Application:
    return Application(
        [("/metrics", _Metrics, {"source": source, "host": host})],
        default_handler_class=_NotFound,
        default_handler_args={"status_code": 404},
        log_function=lambda handler: None,
    )
