"""How far a preparation is, in words for the repository index, the log and a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from pyserver.types import Clock

MEGABYTE = 1_000_000
INTERVAL_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Progress:
    """A step and how much of it is done: `done` of `total` bytes of the archive; 0 of 0 where it can't be told."""

    step: str
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        if not self.total:
            return self.step
        return f"{self.step}: {self.done / MEGABYTE:.1f} of {self.total / MEGABYTE:.1f} MB"


Report: TypeAlias = Callable[[Progress], None]


class Throttle:
    """Lets a report through when its step changes, when it is the last of its step, or after a tenth of a second."""

    def __init__(self, report: Report, clock: Clock) -> None:
        self._report = report
        self._clock = clock
        self._step = ""
        self._next = 0

    def __call__(self, progress: Progress) -> None:
        """Report, or not."""
        now = self._clock()
        if progress.step != self._step or now >= self._next or (progress.total and progress.done == progress.total):
            self._step = progress.step
            self._next = now + INTERVAL_NS
            self._report(progress)
