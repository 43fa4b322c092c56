"""What may be wrong with a metric."""

from __future__ import annotations

from mlserver.errors import MLServerError


class InvalidModelContext(MLServerError):  # noqa: N818
    """A metric was logged outside of any model."""

    def __init__(self) -> None:
        super().__init__("A metric can only be logged within a model's context", 500)


class MetricNotFound(MLServerError):  # noqa: N818
    """No such metric."""

    def __init__(self, metric_name: str) -> None:
        super().__init__(f"Metric not found: {metric_name}", 500)
