"""The cache in this process, against a plain model of "least recently used, by bytes"."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.cache.entry import CachedTensor, Entry
from pyserver.cache.local import _ENTRY_BYTES, LocalCache

SIZE = 4096


def entry(nbytes: int, mark: int = 0) -> Entry:
    return Entry((CachedTensor("Y", "UINT8", (nbytes,), bytes([mark]) * nbytes),), None)


def found_in(cache: LocalCache, key: bytes) -> Entry | None:
    seen: list[Entry | None] = []
    cache.look_up(key, seen.append)
    (found,) = seen
    return found


steps = st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, SIZE + 100)), max_size=60)


@settings(max_examples=200)
@given(steps)
def test_it_keeps_what_was_used_last_within_its_size(steps: list[tuple[bool, int, int]]) -> None:
    cache = LocalCache(SIZE, lambda: 0)
    kept: list[tuple[bytes, Entry]] = []  # the least recently used first
    lookups = hits = evictions = 0
    for looking, number, nbytes in steps:
        key = bytes([number])
        mine = next((pair for pair in kept if pair[0] == key), None)
        if looking:
            lookups += 1
            hits += mine is not None
            assert found_in(cache, key) == (mine and mine[1])
            if mine:
                kept.remove(mine)
                kept.append(mine)
        else:
            new = entry(nbytes, number)
            cache.insert(key, new)
            if new.nbytes + _ENTRY_BYTES <= SIZE:
                if mine:
                    kept.remove(mine)
                kept.append((key, new))
                while sum(each.nbytes + _ENTRY_BYTES for _, each in kept) > SIZE:
                    kept.pop(0)
                    evictions += 1
        counters = cache.counters
        assert counters.used == sum(each.nbytes + _ENTRY_BYTES for _, each in kept) <= SIZE
        assert counters.entries == len(kept)
    assert (counters.lookups, counters.hits, counters.misses, counters.evictions) == (
        lookups, hits, lookups - hits, evictions,
    ) if steps else True  # fmt: skip


def test_durations_are_counted() -> None:
    times = iter([0, 5, 10, 30])
    cache = LocalCache(SIZE, lambda: next(times))
    found_in(cache, b"x")
    cache.insert(b"x", entry(1))
    assert (cache.counters.lookup_ns, cache.counters.insertion_ns) == (5, 20)
