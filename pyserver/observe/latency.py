"""Latencies as Prometheus wants them: quantiles of the last minute, and histograms."""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Sequence

KEPT = 4096
"""Observations of which the quantiles are told: the newest, so that their error is that of no more than a sample."""
AGE_NS = 60_000_000_000
"""As in Triton: what is older than a minute counts in the sum and the count alone."""


class Summary:
    """Count and sum of all observations, and quantiles of those of the last minute, the newest KEPT of them."""

    __slots__ = ("_at", "_times", "_values", "count", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self._values = array("d")
        self._times = array("q")
        self._at = 0

    def observe(self, value: float, now_ns: int) -> None:
        """One more."""
        self.count += 1
        self.sum += value
        if len(self._values) < KEPT:
            self._values.append(value)
            self._times.append(now_ns)
        else:
            self._values[self._at], self._times[self._at] = value, now_ns
            self._at = (self._at + 1) % KEPT

    def quantiles(self, wanted: Sequence[float], now_ns: int) -> list[float]:
        """The least value that as many as the quantile says do not exceed; NaN where there is nothing."""
        oldest = now_ns - AGE_NS
        values = sorted(value for value, at in zip(self._values, self._times, strict=True) if at >= oldest)
        if not values:
            return [math.nan] * len(wanted)
        return [values[max(0, math.ceil(quantile * len(values)) - 1)] for quantile in wanted]


class Histogram:
    """Counts of observations up to each bound of `buckets`, and beyond the last."""

    __slots__ = ("buckets", "counts", "sum")

    def __init__(self, buckets: Sequence[float]) -> None:
        self.buckets = tuple(buckets)
        self.counts = [0] * (len(self.buckets) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """One more."""
        self.counts[bisect.bisect_left(self.buckets, value)] += 1
        self.sum += value
