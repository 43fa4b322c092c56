"""Two answers, field by field: what differs has a row in a table of intended differences, or is a mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

ABSENT = "(absent)"


def anything(ours: Any, theirs: Any) -> bool:
    """No condition."""
    return True


@dataclass(frozen=True)
class Difference:
    """Fields (patterns over paths as json.outputs.0.name) of exchanges (patterns) that may differ if `holds`."""

    exchange: str
    field: str
    why: str
    holds: Callable[[Any, Any], bool] = anything

    def covers(self, exchange: str, field: str, ours: Any, theirs: Any) -> bool:
        """Whether it explains these two values of this field."""
        return fnmatchcase(exchange, self.exchange) and fnmatchcase(field, self.field) and self.holds(ours, theirs)


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values of a tree with their paths; an empty list or object is a value."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(tree, list) and tree:
        for number, value in enumerate(tree):
            yield from leaves(value, f"{path}.{number}")
    else:
        yield path, tree


def compare(exchange: str, ours: Any, theirs: Any, table: Sequence[Difference], used: set[Difference]) -> None:
    """Fail, field by field, for what no row of `table` explains; `used` gets the rows that were needed."""
    expected, got = dict(leaves(theirs)), dict(leaves(ours))
    unexplained = []
    for field in sorted(expected.keys() | got.keys()):
        one, other = got.get(field, ABSENT), expected.get(field, ABSENT)
        if repr(one) != repr(other):  # repr: NaN equals NaN, 1 is not 1.0
            reasons = {row for row in table if row.covers(exchange, field, one, other)}
            used |= reasons
            if not reasons:
                unexplained.append(f"{field}: ours {one!r}, theirs {other!r}")
    assert not unexplained, "\n".join(["", *unexplained])
