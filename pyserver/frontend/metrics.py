"""The metrics port: GET /metrics, in Prometheus' text format."""

from __future__ import annotations

import asyncio
import re
import time
from itertools import starmap
from typing import TYPE_CHECKING

from tornado.web import Application, ErrorHandler, RequestHandler

from pyserver.frontend.answered import Answered
from pyserver.frontend.host import GpuWatch, Host, resident
from pyserver.frontend.rest.lane.server import LaneServer
from pyserver.frontend.rest.limits import Limits
from pyserver.observe import metrics_config
from pyserver.observe.metrics_config import MetricsConfig
from pyserver.protocol import custom_metrics, mlserver_metrics, mlserver_traffic
from pyserver.protocol.metrics import (
    CONTENT_TYPE,
    CachedSample,
    CacheSample,
    InstanceSample,
    ModelSample,
    render,
)
from pyserver.protocol.metrics_latency import LatencySample, SummarySample
from pyserver.protocol.mlserver_metrics import Counted
from pyserver.settings import Settings

if TYPE_CHECKING:
    from pyserver.cache.cache import Counters
    from pyserver.dataplane import DataPlane
    from pyserver.model.latencies import Latencies
    from pyserver.model.model import Model

LIMITS = Limits(max_body_size=0, max_header_size=16 * 1024, max_connections=256, idle_timeout=300.0)
"""A scrape is a small GET; a few clients make them."""


PATH = "/metrics"


class MetricsServer:
    """Serves the counters of the models that `data_plane` has, on a port of its own."""

    title = "Metrics Service"

    def __init__(self, data_plane: DataPlane, settings: Settings, answered: Answered | None = None) -> None:
        self.address = settings.metrics_address or settings.http_address
        self._page = Page(data_plane, settings, answered)
        path = PATH if settings.mlserver is None else settings.mlserver["metrics_endpoint"] or PATH
        application = _application(self._page, path)
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


class Page:
    """What the settings want to be seen, put together anew for whoever asks."""

    def __init__(self, data_plane: DataPlane, settings: Settings, answered: Answered | None = None) -> None:
        self._answered = answered
        self._prefix = "" if settings.mlserver is None else settings.mlserver["metrics_rest_server_prefix"]
        self._data_plane = data_plane
        self._config = metrics_config.parse(settings.metrics_config)
        self._host = Host(settings.metrics_interval_ms) if settings.allow_cpu_metrics else None
        self._gpus = GpuWatch(settings.metrics_interval_ms) if settings.allow_gpu_metrics else None

    async def text(self) -> bytes:
        """All families."""
        cache = self._data_plane.cache()
        gpus = self._gpus is not None and self._gpus.any
        page = render(
            [sample(*each, self._config) for each in self._data_plane.models()],
            None if self._host is None else self._host.sample(),
            None if cache is None else cache_sample(cache),
            await asyncio.to_thread(self._gpus.samples) if self._gpus is not None and gpus else (),
            self._config.counter_latencies,
        )
        page += mlserver_metrics.render(starmap(self._counted, self._data_plane.models_of_mlserver()))
        if self._answered is not None:
            page += mlserver_traffic.render(self._answered.traffic, self._prefix)
        return page + custom_metrics.render(self._data_plane.custom_metrics())

    def _counted(self, name: str, label: str, model: Model) -> Counted:
        counted = model.statistics
        return Counted(name, label, counted.success, counted.fail, counted.success_ns)


def sample(name: str, version: int, model: Model, config: MetricsConfig) -> ModelSample:
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
        running=model.scheduler.running,
        memory_used=0 if model.memory is None else model.memory.arena.used,
        instances=[
            InstanceSample(place.spec.name, place.restarts, resident(place.instance.pid)) for place in model.instances
        ],
        latencies=None if model.latencies is None else latency_sample(model.latencies, config),
        tags=dict(model.config.metric_tags),
        cached=None
        if model.cached is None
        else CachedSample(counted.hits, counted.hit_ns, counted.misses, counted.miss_ns),
    )


def latency_sample(measured: Latencies, config: MetricsConfig) -> LatencySample:
    """What the metrics say of the latencies of single requests."""
    now = time.monotonic_ns()
    wanted = [quantile for quantile, _ in config.summary_quantiles]
    found = {**measured.summaries, "cache_hit": measured.hits, "cache_miss": measured.misses}
    summaries = {
        part: SummarySample(kept.count, kept.sum, list(zip(wanted, kept.quantiles(wanted, now), strict=True)))
        for part, kept in found.items()
        if kept is not None
    }
    first = measured.first_response
    return LatencySample(summaries, None if first is None else (first.buckets, (*first.counts, first.sum)))


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
    def initialize(self, page: Page) -> None:
        self._page = page

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    async def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(await self._page.text())


class _NotFound(ErrorHandler):
    def initialize(self, status_code: int, path: str = PATH) -> None:
        self._path = path
        super().initialize(status_code)

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def write_error(self, status_code: int, **kwargs: object) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: only {self._path} is here\n")


def _application(page: Page, path: str) -> Application:
    return Application(
        [(re.escape(path), _Metrics, {"page": page})],
        default_handler_class=_NotFound,
        default_handler_args={"status_code": 404, "path": path},
        log_function=lambda handler: None,
    )
