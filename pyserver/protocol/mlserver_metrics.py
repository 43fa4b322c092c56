"""MLServer's metrics of its models, under its names; ours of the same models stand beside them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pyserver.protocol.metrics_text import header, histogram, labels

NO_VERSION = "None"
"""What MLServer writes for a model without a version."""

_FAMILIES = (
    ("model_infer_request_success", "counter", "Requests that a model has answered"),
    ("model_infer_request_failure", "counter", "Requests that a model has not answered"),
    ("model_infer_request_duration", "summary", "Seconds from a request to its answer"),
)


_QUEUE = "batch_request_queue"
_QUEUED = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 25.0, 50.0, 100.0, 250.0)
"""The buckets that MLServer has (Prometheus' own, which are for seconds), and some for longer queues."""


class Counted(NamedTuple):
    """One model version since it was loaded: `version` is its name, "" for none; durations are nanoseconds.

    `batches` says of a model that batches how many there were of each size.
    """

    model: str
    version: str
    success: int
    failures: int
    request_ns: int
    batches: Mapping[int, int] | None = None


def render(models: Iterable[Counted]) -> bytes:
    """Every family with its help and type, then its samples; nothing where there are no such models."""
    counted = list(models)
    lines: list[str] = []
    for name, kind, text in _FAMILIES if counted else ():
        exposed = f"{name}_total" if kind == "counter" else name
        lines += [f"# HELP {exposed} {text}", f"# TYPE {exposed} {kind}"]
        for each in counted:
            lines += _samples(name, each)
    lines += _queues([each for each in counted if each.batches is not None])
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _samples(name: str, each: Counted) -> Sequence[str]:
    identity = {"model": each.model, "version": each.version or NO_VERSION}
    named = labels({**identity, "model_name": each.model, "model_version": each.version})
    if name.endswith("_success"):
        return [f"{name}_total{named} {each.success}"]
    if name.endswith("_failure"):
        return [f"{name}_total{named} {each.failures}"]
    return [f"{name}_count{named} {each.success}", f"{name}_sum{named} {each.request_ns / 1e9!r}"]


def _queues(batching: Sequence[Counted]) -> Iterator[str]:
    """What MLServer observes as a request joins a queue: how many wait there for the same batch.

    The first of a batch finds nobody, the next one the first, and so on: it follows from the sizes of the batches.
    """
    if not batching:
        return
    yield from header(_QUEUE, "histogram", "Requests that waited for a batch as another one joined them")
    for each in batching:
        counts = [0.0] * (len(_QUEUED) + 2)
        for size, times in (each.batches or {}).items():
            for waiting in range(size):
                counts[bisect_left(_QUEUED, waiting)] += times
            counts[-1] += times * size * (size - 1) / 2
        named = {"model_name": each.model, "model_version": each.version}
        yield from histogram(_QUEUE, named, _QUEUED, counts)
