"""How many payloads to send ahead: enough that the stub never waits for the server, no more than it soon begins."""

from __future__ import annotations

MOST = 64
"""Payloads sent and not executed, at most."""
AHEAD_NS = 1_000_000
"""Work that may be queued in the stub behind what it executes, in nanoseconds."""


class Pace:
    """The depth of the pipeline by the moving average of what payloads cost.

    `depth` counts the payload that is being executed. What is not yet sent can still be batched, reordered or dropped,
    so a slow model is sent no more than `least`: 1, or 2 where the next payload is to lie ready (double buffering).
    """

    __slots__ = ("_cost_ns", "depth", "least")

    def __init__(self, least: int = 1) -> None:
        self.least = least
        self.depth = least
        self._cost_ns = 0

    def executed(self, cost_ns: int) -> None:
        """A payload took `cost_ns`, all parts together."""
        average = self._cost_ns
        # The first few payloads pay for cold caches and lazy imports: their weight is gone after some eight others.
        average += (cost_ns - average) >> 3 if average else cost_ns
        self._cost_ns = average
        depth = AHEAD_NS // (average + 1) + 1
        self.depth = self.least if depth < self.least else depth if depth < MOST else MOST
