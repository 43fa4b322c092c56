"""Custom metrics of a model: pb_utils.MetricFamily. To count is to write into memory that the server reads."""

from __future__ import annotations

import bisect
import enum
import math
import threading
import time
import weakref
from typing import Any, Dict, List, Tuple

from pyserver.ipc.arena import ArenaFull
from pyserver.stub.calls import calls
from pyserver.stub.exceptions import TritonModelException, incompatible

_Key = Tuple[str, Tuple[Tuple[str, str], ...]]
_lock = threading.Lock()  # over a read and a write of a number
_DELETED = (
    "Invalid metric operation as the corresponding 'MetricFamily' has been deleted. The 'MetricFamily' object should "
    "be deleted AFTER its corresponding 'Metric' objects have been deleted."
)


class MetricKind(enum.IntEnum):
    """What a family measures."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2


class Metric:
    """One time series of a family: `MetricFamily.Metric` makes it. TritonModelException for what its kind has not."""

    __slots__ = ("_buckets", "_family", "_kind", "_labels", "_name", "_numbers")

    def __init__(self, family: MetricFamily, labels: dict[str, str], buckets: list[float] | None, numbers: Any) -> None:
        self._family = weakref.ref(family)
        self._name = family._name
        self._kind = family._kind
        self._labels = labels
        self._buckets = buckets or []
        self._numbers = numbers

    def increment(self, value: float) -> None:
        """Add `value`: to a counter 0 or more, to a gauge anything."""
        self._check("increment", "Increment", value, MetricKind.HISTOGRAM)
        if self._kind is MetricKind.COUNTER and not value >= 0:
            raise TritonModelException(
                f"Failed to increment metric value: a counter can't be incremented by {value}, expected 0 or more"
            )
        with _lock:
            self._numbers[0] += value

    def set(self, value: float) -> None:
        """Set a gauge."""
        self._check("set", "Set", value, MetricKind.COUNTER, MetricKind.HISTOGRAM)
        with _lock:
            self._numbers[0] = value
            self._numbers[1] = time.time()

    def observe(self, value: float) -> None:
        """Count `value` in a histogram."""
        self._check("observe", "Observe", value, MetricKind.COUNTER, MetricKind.GAUGE)
        at = bisect.bisect_left(self._buckets, value)
        with _lock:
            self._numbers[at] += 1
            self._numbers[len(self._buckets) + 1] += value

    def value(self) -> float:
        """The value of a counter or gauge, over all instances that have it."""
        self._check("get", "Value", 0, MetricKind.HISTOGRAM)
        return float(calls().control("value", name=self._name, labels=self._labels))

    def _check(self, verb: str, operation: str, value: Any, *unfit: MetricKind) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise incompatible(f"{verb}(value: float)", value)
        if self._family() is None:
            raise TritonModelException(_DELETED)
        if self._kind in unfit:
            kind = f"TRITONSERVER_METRIC_KIND_{self._kind.name}"
            raise TritonModelException(f"Failed to {verb} metric value: {kind} does not support {operation}")
        if not math.isfinite(value):
            raise TritonModelException(f"Failed to {verb} metric value: {value} is not a finite number")


class MetricFamily:
    """Metrics of one name; one that exists, in any model, is the same. TritonModelException if its kind differs."""

    COUNTER = MetricKind.COUNTER
    GAUGE = MetricKind.GAUGE
    HISTOGRAM = MetricKind.HISTOGRAM

    def __init__(self, name: Any, description: Any, kind: Any) -> None:
        if not isinstance(name, str) or not isinstance(description, str) or not isinstance(kind, MetricKind):
            signature = "MetricFamily(name: str, description: str, kind: MetricFamily.<KIND>)"
            raise incompatible(signature, name, description, kind)
        calls().control("family", name=name, description=description, kind=int(kind))
        self._name = name
        self._kind = kind

    def Metric(self, labels: Any = None, buckets: list[float] | None = None) -> Metric:  # noqa: N802
        """The series with these labels; `buckets` (ascending upper bounds) for a histogram, and for nothing else."""
        if labels is not None and not isinstance(labels, dict):
            raise TritonModelException("Labels must be a dictionary.")
        bounds = self._bounds(buckets)
        labels = dict(labels or {})
        numbers = _series(self, labels, bounds)
        return Metric(self, labels, bounds, numbers)

    def _bounds(self, buckets: list[float] | None) -> List[float]:
        if self._kind is not MetricKind.HISTOGRAM:
            if buckets is not None:
                raise TritonModelException("Failed to create metric. Unexpected buckets found.")
            return []
        if not buckets:
            raise TritonModelException("Failed to create metric. Missing required buckets.")
        bounds = [float(bound) for bound in buckets]
        if sorted(set(bounds)) != bounds:
            raise TritonModelException("Failed to create metric. Bucket Boundaries must be strictly sorted.")
        return bounds


_numbers: Dict[_Key, Any] = {}


def _series(family: MetricFamily, labels: Dict[str, str], bounds: List[float]) -> Any:
    """The numbers of a series of this process, made and announced to the server if they are new."""
    key = (family._name, tuple(sorted((str(name), str(value)) for name, value in labels.items())))
    known = _numbers.get(key)
    if known is not None and len(known) == _count(family, bounds):
        return known
    there = calls()
    try:
        offset, numbers = there.cells(_count(family, bounds))
    except ArenaFull as full:
        raise TritonModelException(f"Failed to create metric. {full}") from None
    there.control("metric", name=family._name, labels=labels, buckets=bounds, offset=offset)
    _numbers[key] = numbers
    return numbers


def _count(family: MetricFamily, bounds: List[float]) -> int:
    return {MetricKind.COUNTER: 1, MetricKind.GAUGE: 2}.get(family._kind, len(bounds) + 2)
