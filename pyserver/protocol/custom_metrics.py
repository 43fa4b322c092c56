"""The metrics of models' own (pb_utils.MetricFamily) in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pyserver.model.custom_metrics import FamilySample
from pyserver.protocol.metrics_text import histogram, labels, number


def render(families: Iterable[FamilySample]) -> bytes:
    """Every family with its help and type, then its series."""
    return "".join(line + "\n" for family in families for line in _lines(family)).encode("utf-8", "replace")


def _lines(family: FamilySample) -> Iterator[str]:
    text = family.description.replace("\\", "\\\\").replace("\n", "\\n")
    yield f"# HELP {family.name} {text}"
    yield f"# TYPE {family.name} {family.kind}"
    for named, buckets, values in family.series:
        if family.kind == "histogram":
            yield from histogram(family.name, named, buckets, values)
        else:
            yield f"{family.name}{_labels(named)} {number(values[0])}"


def _labels(named: Mapping[str, str]) -> str:
    return labels(named) if named else ""
