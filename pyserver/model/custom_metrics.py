"""What models measure of their own accord (pb_utils.MetricFamily), summed over instances and their deaths.

A series lies in the memory of each instance that has it, as numbers that its stub writes and the server reads: nothing
is sent when a model counts, and what it has counted is known even after a SIGKILL. What dead instances of a model have
counted is kept as long as the model is there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pyserver.errors import ErrorCode, ServerError, invalid, not_found
from pyserver.instance.states import State

if TYPE_CHECKING:
    from pyserver.instance.instance import Instance

KINDS = ("counter", "gauge", "histogram")
"""By the numbers of pb_utils.MetricKind."""
OWN_PREFIX = "nv_"
_NAME = re.compile("[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")

Labels = tuple[tuple[str, str], ...]
ModelKey = tuple[str, int]


class FamilySample(NamedTuple):
    """A family now: of each series its labels, the bounds of its buckets, and its numbers."""

    name: str
    kind: str
    description: str
    series: Sequence[tuple[Mapping[str, str], Sequence[float], Sequence[float]]]


class Source(NamedTuple):
    """An instance that has a series, and its numbers: the value; of a gauge also when it was set (0 for never); of a
    histogram the counts of the buckets, of what is beyond them, and the sum.
    """

    instance: Instance
    numbers: Any

    @property
    def key(self) -> ModelKey:
        """The model version that it is an instance of."""
        return self.instance.spec.model_name, self.instance.spec.version


class Series:
    """One set of labels of a family."""

    def __init__(self, labels: Labels, buckets: tuple[float, ...]) -> None:
        self.labels = labels
        self.buckets = buckets
        self.sources: list[Source] = []
        self.kept: dict[ModelKey, list[float]] = {}

    def total(self) -> list[float]:
        """Counters and histograms: the sum over all that count or have counted."""
        every = [*(_finite(source.numbers) for source in self.sources), *self.kept.values()]
        return [sum(column) for column in zip(*every, strict=True)]

    def level(self) -> list[float]:
        """Gauges: what was set last by any instance; the sum over them where none was ever set."""
        latest = max(self.sources, key=lambda source: source.numbers[1])
        if latest.numbers[1]:
            return [latest.numbers[0]]
        return [sum(source.numbers[0] for source in self.sources)]

    def lose(self, source: Source, counts: bool, unloaded: bool) -> None:
        """`source` is gone; what it counted stays unless its model went with it."""
        self.sources.remove(source)
        key = source.key
        if counts:
            numbers = _finite(source.numbers)
            before = self.kept.get(key, [0.0] * len(numbers))
            self.kept[key] = [mine + had for mine, had in zip(numbers, before, strict=True)]
        if unloaded and not any(other.key == key for other in self.sources):
            self.kept.pop(key, None)


class Family:
    """The series of one name."""

    def __init__(self, name: str, kind: str, description: str) -> None:
        self.name = name
        self.kind = kind
        self.description = description
        self.series: dict[Labels, Series] = {}

    def sample(self) -> FamilySample:
        """What there is now."""
        found = [
            (dict(each.labels), each.buckets, each.level() if self.kind == "gauge" else each.total())
            for each in self.series.values()
            if each.sources or each.kept
        ]
        return FamilySample(self.name, self.kind, self.description, found)


class CustomMetrics:
    """All families of one server. What a model may not do is a ServerError with Triton's words."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def family(self, asked: Mapping[str, Any]) -> None:
        """Make a family, or find the one of that name."""
        name, kind = str(asked.get("name")), KINDS[int(asked.get("kind", 0))]
        if not _NAME.fullmatch(name) or name.startswith(OWN_PREFIX):
            raise invalid(f"Error when creating MetricFamily: Invalid metric name '{name[:64]}'")
        found = self._families.setdefault(name, Family(name, kind, str(asked.get("description", ""))))
        if found.kind != kind:
            raise ServerError(
                ErrorCode.ALREADY_EXISTS,
                f"Error when creating MetricFamily: Family name already exists with different type: '{name}' is a "
                f"{found.kind}, asked for a {kind}",
            )

    def metric(self, instance: Instance, asked: Mapping[str, Any]) -> None:
        """Let the series of these labels have `instance` for a source too: its numbers lie at `offset`."""
        family = self._find(asked)
        labels = _labels(asked.get("labels") or {}, family.kind)
        buckets = tuple(float(bound) for bound in asked.get("buckets") or ())
        count = {"counter": 1, "gauge": 2}.get(family.kind, len(buckets) + 2)
        series = family.series.setdefault(labels, Series(labels, buckets))
        if series.buckets != buckets:
            raise invalid(
                f"Failed to create metric. '{family.name}' has these labels with buckets {list(series.buckets)}, "
                f"got {list(buckets)}"
            )
        series.sources.append(Source(instance, instance.numbers(int(asked.get("offset", -1)), count)))

    def value(self, asked: Mapping[str, Any]) -> float:
        """A series' value, over all instances."""
        family = self._find(asked)
        series = family.series.get(_labels(asked.get("labels") or {}, family.kind))
        if series is None or not series.sources:
            raise not_found(f"Failed to get metric value: '{family.name}' has no such labels")
        return series.level()[0] if family.kind == "gauge" else series.total()[0]

    def gone(self, instance: Instance) -> None:
        """`instance` has ended."""
        unloaded = instance.state is State.DRAINING
        for family in self._families.values():
            for series in family.series.values():
                for source in [source for source in series.sources if source.instance is instance]:
                    series.lose(source, family.kind != "gauge", unloaded)
        self._sweep()

    def samples(self, loaded: set[ModelKey]) -> list[FamilySample]:
        """Every family that somebody has, by name; what models left that are no longer `loaded` is dropped."""
        for family in self._families.values():
            for series in family.series.values():
                living = loaded | {source.key for source in series.sources}
                series.kept = {key: numbers for key, numbers in series.kept.items() if key in living}
        return [family.sample() for _, family in sorted(self._families.items()) if family.series]

    def _find(self, asked: Mapping[str, Any]) -> Family:
        family = self._families.get(str(asked.get("name")))
        if family is None:
            raise not_found(
                "Invalid metric operation as the corresponding 'MetricFamily' has been deleted: "
                f"'{str(asked.get('name'))[:64]}'"
            )
        return family

    def _sweep(self) -> None:
        for family in self._families.values():
            family.series = {key: each for key, each in family.series.items() if each.sources or each.kept}


def _labels(given: Mapping[str, Any], kind: str) -> Labels:
    for name, value in given.items():
        if not isinstance(value, str):
            raise invalid(f"Failed to create metric. attempt to access JSON non-string as string: label '{name[:64]}'")
        if not _LABEL.fullmatch(name) or (kind == "histogram" and name == "le"):
            raise invalid(f"Failed to create metric. Invalid label name '{name[:64]}'")
    return tuple(sorted(given.items()))


def _finite(numbers: Any) -> list[float]:
    """A count that is none, which only a broken stub writes, counts nothing."""
    return [number if math.isfinite(number) else 0.0 for number in numbers]
