"""A cache of texts by text, as MLServer has one; the server's own cache of answers is another."""

from __future__ import annotations

from collections import OrderedDict


class ResponseCache:
    """What a cache has to have."""

    async def insert(self, key: str, value: str) -> None:
        """Keep `value`."""
        raise NotImplementedError("insert() method not implemented")

    async def lookup(self, key: str) -> str:
        """What was kept under `key`, "" for nothing."""
        raise NotImplementedError("lookup() method not implemented")

    async def size(self) -> int:
        """How many texts are kept."""
        raise NotImplementedError("size() method not implemented")


class LocalCache(ResponseCache):
    """Keeps the last `size` texts that were inserted."""

    def __init__(self, size: int = 100) -> None:
        self.cache: OrderedDict[str, str] = OrderedDict()
        self.size_limit = size

    async def insert(self, key: str, value: str) -> None:
        """Keep `value`, in the place of the oldest where there is no room."""
        self.cache.pop(key, None)
        self.cache[key] = value
        while len(self.cache) > self.size_limit:
            self.cache.popitem(last=False)

    async def lookup(self, key: str) -> str:
        """What was kept under `key`, "" for nothing."""
        return self.cache.get(key, "")

    async def size(self) -> int:
        """How many texts are kept."""
        return len(self.cache)


__all__ = ["LocalCache", "ResponseCache"]
