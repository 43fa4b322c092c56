"""Removing from the cache what nobody uses."""

from __future__ import annotations

from pyserver.environment.cache import Cache


def prune(cache: Cache, before: float) -> dict[str, int]:
    """Put away the entries that nobody uses now, nor has since `before` (seconds, Unix), and what is unfinished.

    Returns their sizes in bytes by key; `Cache.empty_trash` deletes them.
    """
    removed = {}
    for entry in cache.entries():
        record = entry.record
        if record is not None and cache.last_used(entry) >= before:
            continue
        if cache.remove(entry):
            removed[entry.key] = record.nbytes if record else 0
    for known in (cache.root / "known").iterdir():
        if not (cache.root / known.read_text()).is_dir():
            known.unlink(missing_ok=True)
    return removed
