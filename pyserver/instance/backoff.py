"""When a dead instance is started again: pure policy, time handed in."""

from __future__ import annotations

from collections import deque

SECOND = 1_000_000_000
FIRST_NS = SECOND // 10
"""The first restart is immediate; the second waits this long, each further one twice as long as the one before."""
LONGEST_NS = 10 * SECOND
WINDOW_NS = 60 * SECOND
DEATHS = 5
"""So many deaths within WINDOW_NS open the breaker."""
LIFE_NS = 2 * SECOND
"""Who was ready for so long and then died has had an accident: the deaths before are no part of it."""
OPEN_NS = 60 * SECOND
"""How long an open breaker rests before the next try."""


class Backoff:
    """Counts the deaths of one instance; `broken` says that it dies too often to be counted on."""

    def __init__(self) -> None:
        self._deaths: deque[int] = deque(maxlen=DEATHS)
        self._ready_ns: int | None = None
        self.broken = False

    def died(self, now_ns: int) -> int:
        """Note a death; how many nanoseconds to wait before the next start."""
        if self._ready_ns is not None and now_ns - self._ready_ns >= LIFE_NS:
            self._deaths.clear()
        self._ready_ns = None
        while self._deaths and now_ns - self._deaths[0] > WINDOW_NS:
            self._deaths.popleft()
        self._deaths.append(now_ns)
        count = len(self._deaths)
        self.broken = count >= DEATHS
        if self.broken:
            return OPEN_NS
        return min(FIRST_NS << (count - 2), LONGEST_NS) if count > 1 else 0

    def ready(self, now_ns: int) -> None:
        """It is ready: requests are welcome, its deaths are remembered for WINDOW_NS, or until it has lived LIFE_NS."""
        self.broken = False
        self._ready_ns = now_ns
