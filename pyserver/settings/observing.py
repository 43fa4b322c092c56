"""Flags about what can be seen of the server: metrics and the log."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import flag


@dataclass(frozen=True)
class MetricsSettings:
    """The metrics port."""

    allow_metrics: bool = flag(True, "serve Prometheus metrics", "metrics")
    metrics_address: str = flag("", "address to bind; the HTTP one unless given", "metrics", "ADDRESS")
    metrics_port: int = flag(8002, "port; 0 for a free one", "metrics", "PORT")


@dataclass(frozen=True)
class LogSettings:
    """What is logged, and where."""

    log_verbose: int = flag(0, "0 for none; 1 and above for more", "logging", "LEVEL")
    log_info: bool = flag(True, "log at level info", "logging")
    log_warning: bool = flag(True, "log at level warning", "logging")
    log_error: bool = flag(True, "log at level error", "logging")
    log_file: str = flag("", "log here instead of to stderr", "logging", "FILE")
