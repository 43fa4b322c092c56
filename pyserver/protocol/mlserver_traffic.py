"""MLServer's metrics of its two front ends: what was asked, how it was answered, how long that took."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pyserver.protocol import mlserver_calls
from pyserver.protocol.metrics_text import header, histogram, labels, number
from pyserver.protocol.status import GRPC_NAMES

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds of durations, in seconds."""

Key = tuple[str, str, str, int]
"""Protocol ("http" or "grpc"), method, route, status."""
Traffic = dict[Key, list[float]]
"""The counts of the buckets, that of what is beyond them, and the sum of the seconds."""

OTHER = "/{path}"
"""The route of every path that is none of MLServer's: a client must not make as many series as it likes."""
_MODEL = re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?(/[a-z_]+(?:/dataplane\.json)?)?")
_OF_A_MODEL = frozenset(
    ("", "/ready", "/infer", "/generate", "/infer_stream", "/generate_stream", "/docs", "/docs/dataplane.json")
)
_CONTROL = re.compile(r"/v2/repository/models/[^/]+/(load|unload)")
_FIXED = frozenset(("/v2", "/v2/docs", "/v2/docs/dataplane.json", "/v2/repository/index"))
_UNCOUNTED = frozenset(("/v2/health/live", "/v2/health/ready", "/metrics"))


def route(protocol: str, path: str) -> str:
    """The route of a path, as MLServer's metrics call it; "" for one that is not counted."""
    if protocol == "grpc" or path in _FIXED:
        return path
    if path in _UNCOUNTED:
        return ""
    model = _MODEL.fullmatch(path)
    if model is not None and (model[2] or "") in _OF_A_MODEL:
        return f"/v2/models/{{model_name}}{'/versions/{model_version}' if model[1] else ''}{model[2] or ''}"
    control = _CONTROL.fullmatch(path)
    return OTHER if control is None else f"/v2/repository/models/{{model_name}}/{control[1]}"


def render(traffic: Mapping[Key, list[float]], prefix: str, in_progress: Mapping[str, int]) -> bytes:
    """The families of both; `prefix` begins the names of REST's. `in_progress` are its requests now, by method."""
    rest = [(_rest_labels(key), counts) for key, counts in sorted(traffic.items()) if key[0] == "http"]
    asked = dict.fromkeys((key[1] for key in sorted(traffic) if key[0] == "http"), 0) | dict(in_progress)
    calls = [(_grpc_labels(key), counts) for key, counts in sorted(traffic.items()) if key[0] == "grpc"]
    lines = [*_families(rest, f"{prefix}_requests_total", f"{prefix}_request_duration_seconds", "HTTP requests")]
    lines += _in_progress(f"{prefix}_requests_in_progress", asked)
    lines += _families(calls, "grpc_server_handled_total", "grpc_server_handling_seconds", "RPCs")
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _families(series: list[tuple[dict[str, str], list[float]]], total: str, duration: str, what: str) -> Iterator[str]:
    if not series:
        return
    yield from header(total, "counter", f"{what} that were answered")
    for named, counts in series:
        yield f"{total}{labels(named)} {number(sum(counts[:-1]))}"
    yield from header(duration, "histogram", f"Seconds that {what} took")
    for named, counts in series:
        yield from histogram(duration, named, BUCKETS, counts)


def _in_progress(name: str, asked: Mapping[str, int]) -> Iterator[str]:
    if asked:
        yield from header(name, "gauge", "HTTP requests that are being answered")
    for method, count in asked.items():
        yield f"{name}{labels({'app_name': 'mlserver', 'method': method})} {count}"


def _rest_labels(key: Key) -> dict[str, str]:
    _, method, path, status = key
    return {"app_name": "mlserver", "method": method, "path": path, "status_code": str(status)}


def _grpc_labels(key: Key) -> dict[str, str]:
    _, _, path, status = key
    code = GRPC_NAMES[status]
    return {**mlserver_calls.labels_of(path), "code": code, "grpc_code": code}
