"""Quantiles against the plain definition, and histograms against counting."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserver.errors import ServerError
from pyserver.observe.latency import AGE_NS, KEPT, Histogram, Summary
from pyserver.observe.metrics_config import MetricsConfig, parse

VALUES = st.lists(st.floats(0, 1e9), min_size=1, max_size=200)


@given(VALUES, st.floats(0, 1))
def test_a_quantile_is_not_exceeded_by_as_many_as_it_says(values: list[float], quantile: float) -> None:
    summary = Summary()
    for value in values:
        summary.observe(value, 1)
    (found,) = summary.quantiles([quantile], 2)
    assert found in values
    assert sum(value <= found for value in values) >= quantile * len(values) - 1e-6
    assert sum(value < found for value in values) <= quantile * len(values)
    assert (summary.count, summary.sum) == (len(values), pytest.approx(sum(values)))


def test_only_the_last_minute_and_the_newest_are_told_of() -> None:
    summary = Summary()
    assert math.isnan(summary.quantiles([0.5], 0)[0])
    summary.observe(7, 0)
    summary.observe(1, 5)
    assert summary.quantiles([0, 1], AGE_NS) == [1, 7]
    assert summary.quantiles([0, 1], AGE_NS + 1) == [1, 1]
    for value in range(KEPT):
        summary.observe(value, AGE_NS)
    assert summary.quantiles([0, 0.5, 1], AGE_NS) == [0, KEPT // 2 - 1, KEPT - 1]
    assert summary.count == KEPT + 2


@given(VALUES, st.lists(st.floats(0, 1e9), min_size=1, max_size=8, unique=True))
def test_a_histogram_counts(values: list[float], bounds: list[float]) -> None:
    bounds.sort()
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    for at, bound in enumerate(bounds):
        assert sum(histogram.counts[: at + 1]) == sum(value <= bound for value in values)
    assert sum(histogram.counts) == len(values)


def test_what_the_flag_says() -> None:
    assert parse([]) == MetricsConfig()
    found = parse(["summary_latencies=true", "counter_latencies=0", "summary_quantiles=0.5:0.05,0.9:0.01"])
    assert found == MetricsConfig(False, True, False, ((0.5, 0.05), (0.9, 0.01)))


@pytest.mark.parametrize("entry", ["summary_latencies", "summary_latencies=maybe", "x=true", "summary_quantiles=2:0.1",
                                   "summary_quantiles=0.5", "summary_quantiles=nan:0.1"])  # fmt: skip
def test_what_it_may_not_say(entry: str) -> None:
    with pytest.raises(ServerError, match="--metrics-config"):
        parse([entry])
