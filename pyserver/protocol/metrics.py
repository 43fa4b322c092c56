"""Prometheus' text format under Triton's names.

prometheus_client's own exposition appends `_total` to every counter's name; Triton's counters have none, and
dashboards ask for them by name. So the text, which is three kinds of lines, is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pyserver.observe.gpu import GpuSample
from pyserver.protocol.metrics_host import HostSample, gpu_lines, host_lines
from pyserver.protocol.metrics_latency import LatencySample, latency_lines
from pyserver.protocol.metrics_text import header, labels

CONTENT_TYPE = "text/plain; charset=utf-8"

REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
"""Why a request failed: refused or expired in a queue, cancelled, failed by the model, or something else."""


class CachedSample(NamedTuple):
    """What the response cache did for one model version, durations in nanoseconds."""

    hits: int
    hit_ns: int
    misses: int
    miss_ns: int


class CacheSample(NamedTuple):
    """The whole response cache: `util` is the share of its size in use, 0 to 1; durations in nanoseconds."""

    util: float
    entries: int
    hits: int
    misses: int
    lookups: int
    evictions: int
    lookup_ns: int
    insertion_ns: int


class InstanceSample(NamedTuple):
    """One process of a model: how often it was started anew, and the memory (bytes) that it has."""

    name: str
    restarts: int
    memory: int


@dataclass(slots=True)
class ModelSample:
    """The counters of one model version since it was loaded, durations in nanoseconds.

    `failures` counts by reason (one of REASONS; those absent are 0); `inferences` counts batch items, `executions` the
    calls of the model; `pending` requests of `pending_bytes` wait in its queue now, `running` batches are executed, and
    `memory_used` bytes hold its inputs. `latencies` is None where no request's is measured. `tags` are further labels
    (the config's metric_tags). `cached` is None for a model without response cache.
    """

    model: str
    version: str
    success: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    inferences: int = 0
    executions: int = 0
    request_ns: int = 0
    queue_ns: int = 0
    compute_input_ns: int = 0
    compute_infer_ns: int = 0
    compute_output_ns: int = 0
    pending: int = 0
    pending_bytes: int = 0
    load_seconds: float = 0.0
    running: int = 0
    memory_used: int = 0
    instances: Sequence[InstanceSample] = ()
    latencies: LatencySample | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    cached: CachedSample | None = None


Value = int | float


class _Family(NamedTuple):
    name: str
    kind: str
    help: str
    value: Callable[[ModelSample], Value]


_SUCCESS = _Family(
    "nv_inference_request_success", "counter", "Requests answered, all batch sizes.", lambda sample: sample.success
)
_FAILURE = ("nv_inference_request_failure", "counter", "Requests failed, by reason.")
_MODEL_FAMILIES = (
    _Family(
        "nv_inference_count",
        "counter",
        "Inferences performed: a batch of n counts n.",
        lambda sample: sample.inferences,
    ),
    _Family("nv_inference_exec_count", "counter", "Executions of the model.", lambda sample: sample.executions),
    _Family(
        "nv_inference_request_duration_us",
        "counter",
        "Time from acceptance to the last answer, in microseconds.",
        lambda sample: sample.request_ns // 1000,
    ),
    _Family(
        "nv_inference_queue_duration_us",
        "counter",
        "Time spent waiting in the queue, in microseconds.",
        lambda sample: sample.queue_ns // 1000,
    ),
    _Family(
        "nv_inference_compute_input_duration_us",
        "counter",
        "Time spent preparing inputs, in microseconds.",
        lambda sample: sample.compute_input_ns // 1000,
    ),
    _Family(
        "nv_inference_compute_infer_duration_us",
        "counter",
        "Time spent executing the model, in microseconds.",
        lambda sample: sample.compute_infer_ns // 1000,
    ),
    _Family(
        "nv_inference_compute_output_duration_us",
        "counter",
        "Time spent on outputs, in microseconds.",
        lambda sample: sample.compute_output_ns // 1000,
    ),
    _Family(
        "nv_inference_pending_request_count",
        "gauge",
        "Requests waiting in the queue, not yet executing.",
        lambda sample: sample.pending,
    ),
    _Family(
        "pyserver_pending_request_bytes",
        "gauge",
        "Bytes of the inputs of requests waiting in the queue.",
        lambda sample: sample.pending_bytes,
    ),
    _Family(
        "pyserver_running_batch_count",
        "gauge",
        "Batches given to instances and not yet executed.",
        lambda sample: sample.running,
    ),
    _Family(
        "pyserver_request_memory_used_bytes",
        "gauge",
        "Shared memory that holds inputs of requests.",
        lambda sample: sample.memory_used,
    ),
    _Family(
        "nv_model_load_duration_secs",
        "gauge",
        "Time that loading took, in seconds.",
        lambda sample: sample.load_seconds,
    ),
)


class _CachedFamily(NamedTuple):
    name: str
    help: str
    value: Callable[[CachedSample], Value]


class _CacheFamily(NamedTuple):
    name: str
    help: str
    value: Callable[[CacheSample], Value]


_CACHED_FAMILIES = (
    _CachedFamily("nv_cache_num_hits_per_model", "Answers from the response cache.", lambda cached: cached.hits),
    _CachedFamily(
        "nv_cache_hit_duration_per_model",
        "Time of look-ups that found an answer, in microseconds.",
        lambda cached: cached.hit_ns // 1000,
    ),
    _CachedFamily("nv_cache_num_misses_per_model", "Look-ups without an answer.", lambda cached: cached.misses),
    _CachedFamily(
        "nv_cache_miss_duration_per_model",
        "Time of look-ups without an answer, and of insertions, in microseconds.",
        lambda cached: cached.miss_ns // 1000,
    ),
)
_CACHE_FAMILIES = (
    _CacheFamily("nv_cache_util", "Share of the response cache in use [0.0 - 1.0].", lambda cache: cache.util),
    _CacheFamily("nv_cache_num_entries", "Answers in the response cache.", lambda cache: cache.entries),
    _CacheFamily("nv_cache_num_hits", "Look-ups that found an answer.", lambda cache: cache.hits),
    _CacheFamily("nv_cache_num_misses", "Look-ups without an answer.", lambda cache: cache.misses),
    _CacheFamily("nv_cache_num_lookups", "Look-ups.", lambda cache: cache.lookups),
    _CacheFamily("nv_cache_num_evictions", "Answers that made room for others.", lambda cache: cache.evictions),
    _CacheFamily(
        "nv_cache_lookup_duration", "Time of all look-ups, in microseconds.", lambda cache: cache.lookup_ns // 1000
    ),
    _CacheFamily(
        "nv_cache_insertion_duration",
        "Time of all insertions, in microseconds.",
        lambda cache: cache.insertion_ns // 1000,
    ),
)


def render(
    models: Iterable[ModelSample],
    host: HostSample | None = None,
    cache: CacheSample | None = None,
    gpus: Sequence[GpuSample] = (),
    counter_latencies: bool = True,
) -> bytes:
    """The page: every family with its help and type, then its samples.

    `host` is None where CPU metrics are off, `cache` where there is no response cache.
    """
    samples = list(models)
    lines = [*header(_SUCCESS.name, _SUCCESS.kind, _SUCCESS.help), *_model_lines(_SUCCESS, samples)]
    lines += [*header(*_FAILURE), *_failure_lines(samples)]
    for family in _MODEL_FAMILIES:
        if counter_latencies or not family.name.endswith("_duration_us"):
            lines += [*header(family.name, family.kind, family.help), *_model_lines(family, samples)]
    lines += _instance_lines(samples)
    lines += latency_lines([(_identity(each), each.latencies) for each in samples if each.latencies is not None])
    lines += _cached_lines(samples)
    lines += _PINNED
    if host is not None:
        lines += host_lines(host)
    lines += gpu_lines(gpus)
    if cache is not None:
        for whole in _CACHE_FAMILIES:
            lines += [*header(whole.name, "gauge", whole.help), f"{whole.name} {whole.value(cache)}"]
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


_PINNED = [
    line
    for name in ("nv_pinned_memory_pool_total_bytes", "nv_pinned_memory_pool_used_bytes")
    for line in (*header(name, "gauge", "Pinned memory, of which this server has none, in bytes."), f"{name} 0")
]


def _instance_lines(samples: Iterable[ModelSample]) -> Iterator[str]:
    found = [(_identity(sample), instance) for sample in samples for instance in sample.instances]
    yield from header("pyserver_instance_restarts", "counter", "How often the instance's process was started anew.")
    for named, each in found:
        yield f"pyserver_instance_restarts{labels({**named, 'instance': each.name})} {each.restarts}"
    yield from header("pyserver_instance_memory_bytes", "gauge", "Memory of the instance's process, in bytes.")
    for named, each in found:
        yield f"pyserver_instance_memory_bytes{labels({**named, 'instance': each.name})} {each.memory}"


def _model_lines(family: _Family, samples: Iterable[ModelSample]) -> Iterator[str]:
    for sample in samples:
        yield f"{family.name}{labels(_identity(sample))} {family.value(sample)}"


def _failure_lines(samples: Iterable[ModelSample]) -> Iterator[str]:
    name = _FAILURE[0]
    for sample in samples:
        identity = _identity(sample)
        for reason in REASONS:
            yield f"{name}{labels({**identity, 'reason': reason})} {sample.failures.get(reason, 0)}"


def _cached_lines(samples: Iterable[ModelSample]) -> Iterator[str]:
    with_cache = [(labels(_identity(sample)), sample.cached) for sample in samples if sample.cached is not None]
    for family in _CACHED_FAMILIES if with_cache else ():
        yield from header(family.name, "counter", family.help)
        for identity, cached in with_cache:
            yield f"{family.name}{identity} {family.value(cached)}"


def _identity(sample: ModelSample) -> dict[str, str]:
    return {**sample.tags, "model": sample.model, "version": sample.version}
