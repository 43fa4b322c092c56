"""Where our answers are meant to be others than Triton's, and why. What is not in this table has to be equal."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple


class Difference(NamedTuple):
    """Fields (`field` is a pattern over paths as json.outputs.0.name) of exchanges (a pattern) that may differ."""

    exchange: str
    field: str
    why: str

    def covers(self, exchange: str, field: str) -> bool:
        """Whether it speaks of this field of this exchange."""
        return fnmatchcase(exchange, self.exchange) and fnmatchcase(field, self.field)


DIFFERENCES: list[Difference] = []
