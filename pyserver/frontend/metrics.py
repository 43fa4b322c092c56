"""The metrics port: GET /metrics, in Prometheus' text format."""

from __future__ import annotations

import time
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING

from tornado.web import Application, ErrorHandler, RequestHandler

from pyserver.frontend.rest.lane.server import LaneServer
from pyserver.frontend.rest.limits import Limits
from pyserver.protocol import custom_metrics
from pyserver.protocol.metrics import (
    CONTENT_TYPE,
    CachedSample,
    CacheSample,
    HostSample,
    ModelSample,
    parse_cpu,
    parse_memory,
    render,
)
from pyserver.settings import Settings
from pyserver.types import Clock

if TYPE_CHECKING:
    from pyserver.cache.cache import Counters
    from pyserver.dataplane import DataPlane
    from pyserver.model.model import Model

PROC = Path("/proc")
LIMITS = Limits(max_body_size=0, max_header_size=16 * 1024, max_connections=256, idle_timeout=300.0)
"""A scrape is a small GET; a few clients make them."""


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
    """Serves the counters of the models that `data_plane` has, on a port of its own."""

    title = "Metrics Service"

    def __init__(self, data_plane: DataPlane, settings: Settings) -> None:
        self.address = settings.metrics_address or settings.http_address
        application = _application(data_plane, Host())
        self._lane = LaneServer(
            application, data_plane, self.address, settings.metrics_port, LIMITS, divert=lambda head: True
        )

    @property
    def port(self) -> int:
        """The port that is listened to."""
        return self._lane.port

    async def start(self) -> None:
        """Listen; from then on `port` is the real one. ServerError where it can't be had."""
        await self._lane.start()

    def stop_accepting(self) -> None:
        """Nothing yet: the counters are read to the end."""

    async def drain(self, timeout: float) -> None:
        """Close the port and its connections: a scrape takes no time that would be worth waiting for."""
        await self._lane.drain(0)


def sample(name: str, version: int, model: Model) -> ModelSample:
    """What the metrics say of one model version."""
    counted = model.statistics
    return ModelSample(
        model=name,
        version=str(version),
        success=counted.success,
        failures=counted.failures,
        inferences=counted.inference_count,
        executions=counted.execution_count,
        request_ns=counted.success_ns,
        queue_ns=counted.queue_ns,
        compute_input_ns=counted.input_ns,
        compute_infer_ns=counted.infer_ns,
        compute_output_ns=counted.output_ns,
        pending=model.scheduler.waiting,
        pending_bytes=model.scheduler.waiting_bytes,
        load_seconds=model.load_seconds,
        tags=dict(model.config.metric_tags),
        cached=None
        if model.cached is None
        else CachedSample(counted.hits, counted.hit_ns, counted.misses, counted.miss_ns),
    )


def cache_sample(counted: Counters) -> CacheSample:
    """What the metrics say of the response cache."""
    return CacheSample(
        counted.used / counted.size if counted.size else 0.0,
        counted.entries,
        counted.hits,
        counted.misses,
        counted.lookups,
        counted.evictions,
        counted.lookup_ns,
        counted.insertion_ns,
    )


class _Metrics(RequestHandler):
    def initialize(self, data_plane: DataPlane, host: Host) -> None:
        self._data_plane = data_plane
        self._host = host

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE)
        cache = self._data_plane.cache()
        models = starmap(sample, self._data_plane.models())
        self.write(render(models, self._host.sample(), None if cache is None else cache_sample(cache)))
        self.write(custom_metrics.render(self._data_plane.custom_metrics()))


class _NotFound(ErrorHandler):
    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def write_error(self, status_code: int, **kwargs: object) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: only /metrics is here\n")


def _application(data_plane: DataPlane, host: Host) -> Application:
    return Application(
        [("/metrics", _Metrics, {"data_plane": data_plane, "host": host})],
        default_handler_class=_NotFound,
        default_handler_args={"status_code": 404},
        log_function=lambda handler: None,
    )
