"""Histograms with the labels `model_name` and `model_version`, written into memory that the server reads."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from mlserver.context import model_name_var, model_version_var
from mlserver.metrics.errors import InvalidModelContext

BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
"""Upper bounds, those of prometheus_client."""
LABELS = ("model_name", "model_version")


class Histogram:
    """A histogram; of a model's own where nobody says otherwise."""

    def __init__(self, name: str, description: str) -> None:
        # Where no server is (a model's own tests), nothing is counted.
        from pyserver.stub.exceptions import TritonModelException
        from pyserver.stub.metrics import MetricFamily, MetricKind

        self.name = name
        self.description = description
        self._series: Dict[Tuple[str, ...], Any] = {}
        try:
            self._family: Any = MetricFamily(name, description, MetricKind.HISTOGRAM)
        except TritonModelException as error:
            if "no server" not in str(error):
                raise
            self._family = None

    def labels(self, *values: str, **named: str) -> Histogram:
        """The series with these labels: by their order (`model_name`, `model_version`) or names."""
        return _Labelled(self, {**dict(zip(LABELS, values)), **named})

    def observe(self, amount: float) -> None:
        """Count `amount` for the model that runs."""
        self._count({"model_name": _running(), "model_version": model_version_var.get("")}, amount)

    def _count(self, labels: Dict[str, str], amount: float) -> None:
        if self._family is None:
            return
        key = tuple(labels.get(name, "") for name in LABELS)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._family.Metric(labels=dict(zip(LABELS, key)), buckets=BUCKETS)
        series.observe(float(amount))


class _Labelled(Histogram):
    def __init__(self, of: Histogram, labels: Dict[str, str]) -> None:
        self.name, self.description = of.name, of.description
        self._of = of
        self._labels = {name: str(value) for name, value in labels.items()}

    def observe(self, amount: float) -> None:
        """Count `amount`."""
        self._of._count(self._labels, amount)


class MetricsRegistry:
    """The histograms of this process, by name."""

    def __init__(self) -> None:
        self._metrics: Dict[str, Histogram] = {}

    def exists(self, metric_name: str) -> bool:
        """Whether there is such a metric."""
        return metric_name in self._metrics

    def register(self, name: str, description: str) -> Histogram:
        """The histogram of this name, made if it is new."""
        if name not in self._metrics:
            self._metrics[name] = Histogram(name, description)
        return self._metrics[name]

    def log(self, **metrics: float) -> None:
        """Count values by name. InvalidModelContext outside of a model."""
        _running()
        for name, value in metrics.items():
            self.register(name, f"{name} of a model").observe(value)


def _running() -> str:
    name = model_name_var.get(None)
    if name is None:
        raise InvalidModelContext
    return name


REGISTRY = MetricsRegistry()
register = REGISTRY.register
log = REGISTRY.log


def configure_metrics(settings: Any) -> None:
    """Nothing: the server that reads the metrics is configured elsewhere."""
