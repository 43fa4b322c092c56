"""Metrics of a model's own: histograms by `register` and `log`, which the server shows with all others."""

from mlserver.metrics.errors import InvalidModelContext, MetricNotFound
from mlserver.metrics.registry import REGISTRY, Histogram, MetricsRegistry, configure_metrics, log, register

__all__ = [
    "REGISTRY",
    "Histogram",
    "InvalidModelContext",
    "MetricNotFound",
    "MetricsRegistry",
    "configure_metrics",
    "log",
    "register",
]
