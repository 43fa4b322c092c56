"""Flags about what can be seen of the server: metrics, traces, the log."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import flag

METRICS = "metrics"
TRACES = "trace"
LOG = "logging"


@dataclass(frozen=True)
class MetricsSettings:
    """The metrics port."""

    allow_metrics: bool = flag(True, "serve Prometheus metrics", METRICS)
    allow_cpu_metrics: bool = flag(True, "metrics of the machine's CPUs and memory", METRICS)
    allow_gpu_metrics: bool = flag(True, "metrics of NVIDIA GPUs", METRICS)
    metrics_address: str = flag("", "address to bind; the HTTP one unless given", METRICS, "ADDRESS")
    metrics_port: int = flag(8002, "port; 0 for a free one", METRICS, "PORT")
    metrics_interval_ms: int = flag(2000, "how often CPUs and GPUs are looked at", METRICS, "MILLISECONDS")
    metrics_config: tuple[str, ...] = flag(
        (),
        "which families there are",
        METRICS,
        "KEY=VALUE",
        more="counter_latencies (true), summary_latencies (false), histogram_latencies (false),"
        " summary_quantiles=QUANTILE:ERROR,...; may be given several times",
    )


@dataclass(frozen=True)
class TraceSettings:
    """What is traced from the start; `/v2/trace/setting` changes it."""

    trace_config: tuple[str, ...] = flag(
        (),
        "what to trace, and how",
        TRACES,
        "[MODE,]KEY=VALUE",
        more="level=OFF, TIMESTAMPS or TENSORS, rate=N, count=N, mode=triton or opentelemetry; triton,file=FILE,"
        " triton,log-frequency=N; opentelemetry,url=URL, opentelemetry,resource=KEY=VALUE, and the bsp_ settings of"
        " OpenTelemetry's batch processor; may be given several times",
    )
    trace_file: str = flag("", "deprecated: as --trace-config triton,file=", TRACES, "FILE")
    trace_level: tuple[str, ...] = flag((), "deprecated: as --trace-config level=", TRACES, "LEVEL")
    trace_rate: int = flag(1000, "deprecated: as --trace-config rate=", TRACES, "N")
    trace_count: int = flag(-1, "deprecated: as --trace-config count=", TRACES, "N")
    trace_log_frequency: int = flag(0, "deprecated: as --trace-config triton,log-frequency=", TRACES, "N")


@dataclass(frozen=True)
class LogSettings:
    """What is logged, how, and where; `/v2/logging` changes it."""

    log_verbose: int = flag(0, "0 for none; 1 and above for more", LOG, "LEVEL")
    log_info: bool = flag(True, "log at level info", LOG)
    log_warning: bool = flag(True, "log at level warning", LOG)
    log_error: bool = flag(True, "log at level error", LOG)
    log_format: str = flag("default", "how lines look", LOG, choices=("default", "ISO8601", "json"))
    log_file: str = flag("", "log here instead of to stderr", LOG, "FILE")
    access_log: bool = flag(False, "a line for every request over REST or gRPC", LOG)
