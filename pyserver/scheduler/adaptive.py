"""How long a batch may usefully wait for company, from what is measured."""

from __future__ import annotations


class AdaptiveDelay:
    """Follows the time between arrivals and the time of an execution, both as moving averages (nanoseconds).

    An execution costs about the same whatever its size, so waiting pays while the batch would be full before the
    time of one execution is over; where it would not, the batch had better go at once.
    """

    __slots__ = ("_between_ns", "_execution_ns", "_last_ns")

    def __init__(self) -> None:
        self._between_ns = 0
        self._execution_ns = 0
        self._last_ns = 0

    def arrived(self, now_ns: int, rows: int) -> None:
        """A request of `rows` rows came."""
        if self._last_ns:
            between = (now_ns - self._last_ns) // rows
            self._between_ns += (between - self._between_ns) >> 4 if self._between_ns else between
        self._last_ns = now_ns

    def executed(self, took_ns: int) -> None:
        """A batch was executed in `took_ns`."""
        self._execution_ns += (took_ns - self._execution_ns) >> 3 if self._execution_ns else took_ns

    def delay_ns(self, rows: int, goal: int, most_ns: int) -> int:
        """How long a batch of `rows` may wait to grow to `goal`: `most_ns` (0 for no limit) at most."""
        needed = (goal - rows) * self._between_ns
        if not needed or needed > self._execution_ns:
            return 0
        # Arrivals are irregular: half as much again, or the batch would go just before it is full.
        delay = needed + (needed >> 1)
        return min(delay, most_ns) if most_ns else delay
