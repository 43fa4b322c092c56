"""How long the requests of a model take, each of them: summaries and the histogram of first responses, if asked for."""

from __future__ import annotations

from typing import Any

from pyserver.observe.latency import Histogram, Summary
from pyserver.observe.metrics_config import MetricsConfig
from pyserver.payload import Payload, Pending, Timing
from pyserver.scheduler.scheduler import Observer

FIRST_RESPONSE = "nv_inference_first_response_histogram_ms"
BUCKETS = (100.0, 500.0, 2000.0, 5000.0)
"""Milliseconds, as in Triton."""
PARTS = ("request", "queue", "compute_input", "compute_infer", "compute_output")


class Latencies:
    """Microseconds by part; `first_response` in milliseconds, None where it is not asked for or not a stream's."""

    def __init__(self, cached: bool, streams: bool, first_response: Histogram | None, summaries: bool) -> None:
        self._streams = streams
        self.summaries = {part: Summary() for part in PARTS if summaries and not (cached and part == "request")}
        self.hits = Summary() if summaries and cached else None
        self.misses = Summary() if summaries and cached else None
        self.first_response = first_response

    def ran(self, pending: Pending, timing: Timing, now_ns: int) -> None:
        """A request was executed, and succeeded."""
        started, *parts = timing
        arrived = pending.arrived_ns
        for part, ns in zip(PARTS, (now_ns - arrived, max(0, started - arrived), *parts), strict=True):
            if part in self.summaries and not (self._streams and part == "request"):
                self.summaries[part].observe(ns / 1000, now_ns)

    def ended(self, took_ns: int, now_ns: int) -> None:
        """A stream has ended well."""
        if "request" in self.summaries:
            self.summaries["request"].observe(took_ns / 1000, now_ns)


class LatencyObserver:
    """Tells `latencies` what the scheduler says to `counted`, who hears it first."""

    def __init__(self, counted: Observer, latencies: Latencies) -> None:
        self._counted = counted
        self._latencies = latencies
        self.rejected = counted.rejected
        self.cancelled = counted.cancelled
        self.lost = counted.lost

    def executed(self, payload: Payload, timing: Timing, now_ns: int) -> None:
        """`payload` ran."""
        self._counted.executed(payload, timing, now_ns)
        for pending in payload.pendings:
            if pending.payload is payload and not pending.failed:
                self._latencies.ran(pending, timing, now_ns)


def latencies_of(config: Any, wanted: MetricsConfig, cached: bool) -> Latencies | None:
    """What is to be measured of the model with this configuration; None for nothing."""
    decoupled = config.model_transaction_policy.decoupled
    first = Histogram(buckets(config)) if wanted.histogram_latencies and decoupled else None
    if first is None and not wanted.summary_latencies:
        return None
    return Latencies(cached, decoupled, first, wanted.summary_latencies)


def buckets(config: Any) -> tuple[float, ...]:
    """The bounds that the configuration has for the histogram (model_metrics), or the usual ones."""
    for control in config.model_metrics.metric_control:
        if control.metric_identifier.family == FIRST_RESPONSE and control.histogram_options.buckets:
            return tuple(sorted(control.histogram_options.buckets))
    return BUCKETS
