"""Prometheus' text format: the three kinds of lines, and what stands in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence


def header(name: str, kind: str, text: str) -> tuple[str, str]:
    """The help and type of a family."""
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def labels(pairs: Mapping[str, str]) -> str:
    """`{name="value",...}`, names in alphabetical order as Triton writes them, values escaped."""
    return "{" + ",".join(f'{name}="{_escaped(pairs[name])}"' for name in sorted(pairs)) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def histogram(name: str, named: Mapping[str, str], buckets: Sequence[float], values: Sequence[float]) -> Iterator[str]:
    """The series of a histogram: `values` are the count of each bucket, that of what is beyond them, and the sum."""
    total = 0.0
    for bound, count in zip((*buckets, math.inf), values, strict=False):
        total += count
        yield f"{name}_bucket{labels({**named, 'le': number(bound)})} {number(total)}"
    own = labels(named) if named else ""
    yield f"{name}_sum{own} {number(values[-1])}"
    yield f"{name}_count{own} {number(total)}"


def number(value: float) -> str:
    """`value` as Prometheus reads it; a whole number without a point."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
