"""Custom metrics of a model. Not there yet: making a family says so."""

from __future__ import annotations

import enum
from typing import Any

from pyserver.stub.exceptions import not_yet


class MetricKind(enum.IntEnum):
    """What a family measures."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2


class Metric:
    """One time series of a family."""


class MetricFamily:
    """Metrics of one name."""

    COUNTER = MetricKind.COUNTER
    GAUGE = MetricKind.GAUGE
    HISTOGRAM = MetricKind.HISTOGRAM

    def __init__(self, *_: Any, **__: Any) -> None:
        raise not_yet("pb_utils.MetricFamily")
