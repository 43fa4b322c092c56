"""What every cache can do, and what is counted about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pyserver.cache.entry import Entry

Found = Callable[[Entry | None], None]
"""Called once with what was found, None for nothing."""


@dataclass(slots=True)
class Counters:
    """Since the start; durations in nanoseconds. `size` and `used` are bytes, 0 where the cache has no bounds here."""

    size: int = 0
    used: int = 0
    entries: int = 0
    lookups: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    lookup_ns: int = 0
    insertion_ns: int = 0

    def looked_up(self, hit: bool, ns: int) -> None:
        """One look-up is over."""
        self.lookups += 1
        self.hits += hit
        self.misses += not hit
        self.lookup_ns += ns


class Cache(Protocol):
    """Keeps entries by key. Whatever fails is a miss: no request fails because of its cache.

    `largest` is the size (bytes) of the largest entry that it takes; `shared` says that other servers, and this one
    after a restart, see the same entries.
    """

    largest: int
    shared: bool
    counters: Counters

    def look_up(self, key: bytes, found: Found) -> None:
        """Call `found`, at once or later from the event loop."""

    def insert(self, key: bytes, entry: Entry) -> None:
        """Keep `entry`, if there is room."""

    async def close(self) -> None:
        """Let go of connections."""
