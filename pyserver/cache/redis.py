"""The cache in Redis, through its own client: shared by servers, and slow or absent without harm to a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from pyserver.cache.cache import Counters, Found
from pyserver.cache.config import RedisSettings
from pyserver.cache.entry import Entry, pack, unpack
from pyserver.types import Clock

log = logging.getLogger(__name__)

PREFIX = b"pyserver:response:1:"
"""Before every key; the number is that of the entries' format."""
LARGEST = 64 << 20
CONNECTIONS = 16
MOST_INSERTIONS = 64
"""Entries on their way at once: more are dropped, so that a slow Redis takes no memory."""
REST_NS = 1_000_000_000
"""How long a Redis that failed is not asked again."""


class RedisCache:
    """A `pyserver.cache.cache.Cache`; Redis' own policy says what goes when its memory is full."""

    largest = LARGEST
    shared = True

    def __init__(self, settings: RedisSettings, clock: Clock) -> None:
        self.counters = Counters()
        self._clock = clock
        self._ttl = settings.ttl or None
        self._where = f"{settings.host}:{settings.port}"
        self._timeout = settings.timeout_ms / 1000
        pool = BlockingConnectionPool(
            host=settings.host,
            port=settings.port,
            db=settings.db,
            username=settings.user or None,
            password=settings.password or None,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            max_connections=CONNECTIONS,
            timeout=self._timeout,
        )
        self._client = Redis(connection_pool=pool)
        self._tasks: set[asyncio.Task[None]] = set()
        self._insertions = 0
        self._rests_until = 0

    def look_up(self, key: bytes, found: Found) -> None:
        """Call `found` when Redis has answered, or has not in time."""
        if self._resting():
            self.counters.looked_up(False, 0)
            found(None)
            return
        self._start(self._look_up(key, found))

    def insert(self, key: bytes, entry: Entry) -> None:
        """Send `entry`, and wait for nothing."""
        if entry.nbytes <= LARGEST and self._insertions < MOST_INSERTIONS and not self._resting():
            self._insertions += 1
            self._start(self._insert(key, entry))

    async def close(self) -> None:
        """Drop what is on its way, close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    async def _look_up(self, key: bytes, found: Found) -> None:
        began = self._clock()
        entry = None
        try:
            packed = await asyncio.wait_for(self._client.get(PREFIX + key), self._timeout)
            entry = unpack(packed) if isinstance(packed, bytes) else None
        except (RedisError, OSError, asyncio.TimeoutError) as error:
            self._failed(error)
        finally:
            self.counters.looked_up(entry is not None, self._clock() - began)
            found(entry)

    async def _insert(self, key: bytes, entry: Entry) -> None:
        began = self._clock()
        try:
            await asyncio.wait_for(self._client.set(PREFIX + key, pack(entry), ex=self._ttl), self._timeout)
        except (RedisError, OSError, asyncio.TimeoutError) as error:
            self._failed(error)
        finally:
            self._insertions -= 1
            self.counters.insertion_ns += self._clock() - began

    def _resting(self) -> bool:
        return self._clock() < self._rests_until

    def _failed(self, error: Exception) -> None:
        if not self._resting():
            log.warning("Redis at %s failed, requests go on without it: %s", self._where, str(error) or repr(error))
        self._rests_until = self._clock() + REST_NS

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
