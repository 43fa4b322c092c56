"""When answers may wait for each other, to leave in one message."""

from __future__ import annotations

QUICK_NS = 50_000
"""Only answers of a model whose execute takes less (ns) wait."""
HOLD_NS = 60_000
"""No answer waits for longer (ns) than this and one more execute."""
_DISTRUST_NS = 1_000_000


class Pacing:
    """Follows how long execute takes. Quick to learn that a model is slow, slow to believe that it is quick."""

    __slots__ = ("_held_since", "average_ns")

    def __init__(self) -> None:
        self.average_ns = _DISTRUST_NS
        self._held_since = 0

    def may_wait(self, took_ns: int, now_ns: int) -> bool:
        """Whether the answers made by `now_ns`, the last of them by an execute of `took_ns`, may wait for another."""
        average = self.average_ns
        self.average_ns = average = took_ns if took_ns > average else average - ((average - took_ns) >> 3)
        if self._held_since == 0:
            self._held_since = now_ns
        if average < QUICK_NS and now_ns - self._held_since < HOLD_NS:
            return True
        self._held_since = 0
        return False

    def sent(self) -> None:
        """Nothing is waiting any more."""
        self._held_since = 0
