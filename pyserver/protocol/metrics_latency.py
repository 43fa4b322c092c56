"""The families of latencies that are only there if they are asked for: summaries, and the histogram of streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pyserver.protocol.metrics_text import header, histogram, labels, number

HISTOGRAM = "nv_inference_first_response_histogram_ms"
SUMMARIES = {
    "request": ("nv_inference_request_summary_us", "Time from acceptance to the last answer, in microseconds."),
    "queue": ("nv_inference_queue_summary_us", "Time spent waiting in the queue, in microseconds."),
    "compute_input": ("nv_inference_compute_input_summary_us", "Time spent preparing inputs, in microseconds."),
    "compute_infer": ("nv_inference_compute_infer_summary_us", "Time spent executing, in microseconds."),
    "compute_output": ("nv_inference_compute_output_summary_us", "Time spent on outputs, in microseconds."),
    "cache_hit": ("nv_cache_hit_summary_per_model", "Time of look-ups with an answer, in microseconds."),
    "cache_miss": ("nv_cache_miss_summary_per_model", "Time of look-ups without an answer, in microseconds."),
}


class SummarySample(NamedTuple):
    """Number and sum of all observations, and (quantile, value) of the newest."""

    number: int
    total: float
    quantiles: Sequence[tuple[float, float]]


class LatencySample(NamedTuple):
    """What is measured of one model: summaries by part, and the bounds, counts and sum of its first responses."""

    summaries: Mapping[str, SummarySample]
    first_response: tuple[Sequence[float], Sequence[float]] | None


def latency_lines(models: Sequence[tuple[Mapping[str, str], LatencySample]]) -> Iterator[str]:
    """The families, of models by their labels; nothing where nothing is measured."""
    for part, (name, text) in SUMMARIES.items():
        found = [(named, sample.summaries[part]) for named, sample in models if part in sample.summaries]
        if found:
            yield from header(name, "summary", text)
        for named, summary in found:
            for quantile, value in summary.quantiles:
                yield f"{name}{labels({**named, 'quantile': number(quantile)})} {number(value)}"
            yield f"{name}_sum{labels(named)} {number(summary.total)}"
            yield f"{name}_count{labels(named)} {summary.number}"
    streams = [(named, sample.first_response) for named, sample in models if sample.first_response is not None]
    if streams:
        yield from header(HISTOGRAM, "histogram", "Time to a stream's first response, in milliseconds.")
    for named, (buckets, values) in streams:
        yield from histogram(HISTOGRAM, named, buckets, values)
