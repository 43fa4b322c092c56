"""MLServer's metrics of its models, under its names; ours of the same models stand beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pyserver.protocol.metrics_text import labels

NO_VERSION = "None"
"""What MLServer writes for a model without a version."""

_FAMILIES = (
    ("model_infer_request_success", "counter", "Requests that a model has answered"),
    ("model_infer_request_failure", "counter", "Requests that a model has not answered"),
    ("model_infer_request_duration", "summary", "Seconds from a request to its answer"),
)


class Counted(NamedTuple):
    """One model version since it was loaded: `version` is its name, "" for none; durations are nanoseconds."""

    model: str
    version: str
    success: int
    failures: int
    request_ns: int


def render(models: Iterable[Counted]) -> bytes:
    """Every family with its help and type, then its samples; nothing where there are no such models."""
    counted = list(models)
    lines: list[str] = []
    for name, kind, text in _FAMILIES if counted else ():
        exposed = f"{name}_total" if kind == "counter" else name
        lines += [f"# HELP {exposed} {text}", f"# TYPE {exposed} {kind}"]
        for each in counted:
            lines += _samples(name, each)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _samples(name: str, each: Counted) -> Sequence[str]:
    identity = {"model": each.model, "version": each.version or NO_VERSION}
    named = labels({**identity, "model_name": each.model, "model_version": each.version})
    if name.endswith("_success"):
        return [f"{name}_total{named} {each.success}"]
    if name.endswith("_failure"):
        return [f"{name}_total{named} {each.failures}"]
    return [f"{name}_count{named} {each.success}", f"{name}_sum{named} {each.request_ns / 1e9!r}"]
