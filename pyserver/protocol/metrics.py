"""Prometheus' text format under Triton's names.

prometheus_client's own exposition appends `_total` to every counter's name; Triton's counters have none, and
dashboards ask for them by name. So the text, which is three kinds of lines, is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

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


@dataclass(slots=True)
class ModelSample:
    """The counters of one model version since it was loaded, durations in nanoseconds.

    `failures` counts by reason (one of REASONS; those absent are 0); `inferences` counts batch items, `executions` the
    calls of the model; `pending` requests of `pending_bytes` wait in its queue now. `tags` are further labels (the
    config's metric_tags). `cached` is None for a model without response cache.
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
    tags: Mapping[str, str] = field(default_factory=dict)
    cached: CachedSample | None = None


class HostSample(NamedTuple):
    """The machine: `cpu` is the share of all cores in use, 0 to 1; memory in bytes."""

    cpu: float
    memory_total: int
    memory_used: int


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


def render(models: Iterable[ModelSample], host: HostSample | None = None, cache: CacheSample | None = None) -> bytes:
    """The page: every family with its help and type, then its samples.

    `host` is None where CPU metrics are off, `cache` where there is no response cache.
    """
    samples = list(models)
    lines = [*_header(_SUCCESS.name, _SUCCESS.kind, _SUCCESS.help), *_model_lines(_SUCCESS, samples)]
    lines += [*_header(*_FAILURE), *_failure_lines(samples)]
    for family in _MODEL_FAMILIES:
        lines += [*_header(family.name, family.kind, family.help), *_model_lines(family, samples)]
    lines += _cached_lines(samples)
    if host is not None:
        lines += _host_lines(host)
    if cache is not None:
        for whole in _CACHE_FAMILIES:
            lines += [*_header(whole.name, "gauge", whole.help), f"{whole.name} {whole.value(cache)}"]
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


def _header(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


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
        yield from _header(family.name, "counter", family.help)
        for identity, cached in with_cache:
            yield f"{family.name}{identity} {family.value(cached)}"


def _host_lines(host: HostSample) -> Iterator[str]:
    yield from _header("nv_cpu_utilization", "gauge", "CPU utilization of the machine [0.0 - 1.0].")
    yield f"nv_cpu_utilization {host.cpu}"
    yield from _header("nv_cpu_memory_total_bytes", "gauge", "Memory of the machine, in bytes.")
    yield f"nv_cpu_memory_total_bytes {host.memory_total}"
    yield from _header("nv_cpu_memory_used_bytes", "gauge", "Memory in use on the machine, in bytes.")
    yield f"nv_cpu_memory_used_bytes {host.memory_used}"


def _identity(sample: ModelSample) -> dict[str, str]:
    return {**sample.tags, "model": sample.model, "version": sample.version}


def labels(pairs: Mapping[str, str]) -> str:
    """`{name="value",...}`, names in alphabetical order as Triton writes them, values escaped."""
    return "{" + ",".join(f'{name}="{_escaped(pairs[name])}"' for name in sorted(pairs)) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def parse_cpu(text: str) -> tuple[int, int]:
    """Busy and all jiffies since boot, summed over the cores, from /proc/stat."""
    jiffies = [int(word) for word in text.split("\n", 1)[0].split()[1:9]]
    idle = jiffies[3] + jiffies[4]
    return sum(jiffies) - idle, sum(jiffies)


def parse_memory(text: str) -> tuple[int, int]:
    """Total memory and memory in use, in bytes, from /proc/meminfo."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    total, available = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, total - available
