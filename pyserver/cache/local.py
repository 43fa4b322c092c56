"""The cache in this process: what was not used for longest goes first."""

from __future__ import annotations

from collections import OrderedDict

from pyserver.cache.cache import Counters, Found
from pyserver.cache.entry import Entry
from pyserver.cache.key import KEY_BYTES
from pyserver.types import Clock

_ENTRY_BYTES = KEY_BYTES + 200
"""What an entry takes in the table, about."""


class LocalCache:
    """A `pyserver.cache.cache.Cache` of at most `size` bytes."""

    shared = False

    def __init__(self, size: int, clock: Clock) -> None:
        self.largest = size - _ENTRY_BYTES
        self.counters = Counters(size=size)
        self._clock = clock
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()

    def look_up(self, key: bytes, found: Found) -> None:
        """Call `found` at once."""
        began = self._clock()
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        self.counters.looked_up(entry is not None, self._clock() - began)
        found(entry)

    def insert(self, key: bytes, entry: Entry) -> None:
        """Keep `entry`; what was not used for longest makes room for it."""
        began = self._clock()
        counters = self.counters
        nbytes = entry.nbytes
        if nbytes > self.largest:
            return
        old = self._entries.pop(key, None)
        if old is not None:
            counters.used -= old.nbytes + _ENTRY_BYTES
        counters.used += nbytes + _ENTRY_BYTES
        while counters.used > counters.size:
            _, oldest = self._entries.popitem(last=False)
            counters.used -= oldest.nbytes + _ENTRY_BYTES
            counters.evictions += 1
        self._entries[key] = entry
        counters.entries = len(self._entries)
        counters.insertion_ns += self._clock() - began

    async def close(self) -> None:
        """Nothing is open."""
