"""The metrics of models' own (pb_utils.MetricFamily) in Prometheus' text format."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pyserver.model.custom_metrics import FamilySample
from pyserver.protocol.metrics import labels


def render(families: Iterable[FamilySample]) -> bytes:
    """Every family with its help and type, then its series."""
    return "".join(line + "\n" for family in families for line in _lines(family)).encode("utf-8", "replace")


def _lines(family: FamilySample) -> Iterator[str]:
    text = family.description.replace("\\", "\\\\").replace("\n", "\\n")
    yield f"# HELP {family.name} {text}"
    yield f"# TYPE {family.name} {family.kind}"
    for named, buckets, values in family.series:
        if family.kind == "histogram":
            yield from _histogram(family.name, named, buckets, values)
        else:
            yield f"{family.name}{_labels(named)} {number(values[0])}"


def _histogram(name: str, named: Mapping[str, str], buckets: Sequence[float], values: Sequence[float]) -> Iterator[str]:
    """`values` are the count of each bucket, that of what is beyond them, and the sum."""
    total = 0.0
    for bound, count in zip((*buckets, math.inf), values, strict=False):
        total += count
        yield f"{name}_bucket{labels({**named, 'le': number(bound)})} {number(total)}"
    yield f"{name}_sum{_labels(named)} {number(values[-1])}"
    yield f"{name}_count{_labels(named)} {number(total)}"


def _labels(named: Mapping[str, str]) -> str:
    return labels(named) if named else ""


def number(value: float) -> str:
    """`value` as Prometheus reads it; a whole number without a point."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
