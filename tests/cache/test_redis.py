"""The cache in Redis, over a real server; one that hangs, and one that is not there."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from pyserver.cache.config import RedisSettings, make
from pyserver.cache.entry import CachedTensor, Entry
from pyserver.cache.redis import LARGEST, MOST_INSERTIONS, PREFIX, RedisCache
from tests.support.redis import RedisServer

pytest.importorskip("redis")

ENTRY = Entry((CachedTensor("Y", "FP32", (2,), b"12345678"),), {"lang": "de"})
KEY = bytes(32)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


def cache_of(port: int, **more: int) -> RedisCache:
    cache = make(RedisSettings("127.0.0.1", port, timeout_ms=more.pop("timeout_ms", 2000), **more), time.monotonic_ns)
    assert isinstance(cache, RedisCache)
    return cache


@pytest.fixture
async def cache(redis: RedisServer) -> AsyncIterator[RedisCache]:
    made = cache_of(redis.port)
    yield made
    await made.close()


async def found_in(cache: RedisCache, key: bytes) -> Entry | None:
    found: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
    cache.look_up(key, found.set_result)
    return await asyncio.wait_for(found, 10)


async def inserted(cache: RedisCache, key: bytes, entry: Entry) -> None:
    cache.insert(key, entry)
    await asyncio.gather(*cache._tasks)


async def test_what_one_server_keeps_another_finds(cache: RedisCache, redis: RedisServer) -> None:
    assert await found_in(cache, KEY) is None
    await inserted(cache, KEY, ENTRY)
    other = cache_of(redis.port)
    assert await found_in(other, KEY) == ENTRY
    await other.close()
    assert (cache.counters.lookups, cache.counters.misses, other.counters.hits) == (1, 1, 1)
    assert other.counters.lookup_ns > 0


async def test_what_is_no_entry_is_a_miss(cache: RedisCache, redis: RedisServer) -> None:
    await cache._client.set(PREFIX + b"broken", b"not an entry")
    assert await found_in(cache, b"broken") is None
    await cache._client.lpush(PREFIX + b"list", b"1")
    assert await found_in(cache, b"list") is None


async def test_entries_expire(redis: RedisServer) -> None:
    cache = cache_of(redis.port, ttl=7, db=1)
    await inserted(cache, KEY, ENTRY)
    assert 0 < await cache._client.ttl(PREFIX + KEY) <= 7
    await cache.close()


async def test_many_at_once(cache: RedisCache) -> None:
    await asyncio.gather(*(inserted(cache, bytes([number]), ENTRY) for number in range(40)))
    assert await asyncio.gather(*(found_in(cache, bytes([number])) for number in range(40))) == [ENTRY] * 40


async def test_insertions_are_bounded(cache: RedisCache) -> None:
    for number in range(2 * MOST_INSERTIONS):
        cache.insert(b"bounded" + bytes([number]), ENTRY)
    assert len(cache._tasks) == MOST_INSERTIONS
    await asyncio.gather(*cache._tasks)
    cache.insert(KEY, Entry((CachedTensor("Y", "UINT8", (LARGEST,), bytes(LARGEST)),), None))
    assert not cache._tasks


async def test_no_redis_is_a_miss_and_is_let_rest(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        cache = cache_of(taken.getsockname()[1])
        for _ in range(5):
            assert await found_in(cache, KEY) is None
        assert not cache._tasks, "not asked again for a while"
        cache.insert(KEY, ENTRY)
        assert not cache._tasks
        assert cache.counters.misses == 5
        await cache.close()
    assert len([record for record in caplog.records if "Redis at 127.0.0.1" in record.message]) == 1


async def test_a_redis_that_hangs_costs_its_timeout_once() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        cache = cache_of(silent.getsockname()[1], timeout_ms=50)
        began = time.monotonic()
        assert [await found_in(cache, KEY) for _ in range(4)] == [None] * 4
        assert time.monotonic() - began < 1
        await cache.close()
