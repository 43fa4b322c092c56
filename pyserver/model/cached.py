"""A model's answers from the response cache: the look-up before the queue, the copy after the answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Any

from pyserver.cache.cache import Cache
from pyserver.cache.entry import Entry
from pyserver.cache.key import key_of
from pyserver.errors import ServerError
from pyserver.model.answer import Answer
from pyserver.model.statistics import Statistics
from pyserver.payload import Pending
from pyserver.types import Clock, InferRequest, InferResponse

Compute = Callable[[InferRequest, int], "asyncio.Future[InferResponse]"]
"""Schedule a checked request of so many rows: a future, or a ServerError at once."""


class CachedAnswer(asyncio.Future[InferResponse]):
    """The answer, found or computed. `computing` is the model's own future, once there is one."""

    computing: asyncio.Future[InferResponse] | None = None

    @property
    def pending(self) -> Pending | None:
        """The request that is being computed, if one is."""
        ticket = self.computing.ticket if isinstance(self.computing, Answer) else None
        return ticket if isinstance(ticket, Pending) else None

    def cancel(self, msg: Any | None = None) -> bool:
        """As any future's; what is being computed is cancelled too."""
        if not super().cancel(msg):
            return False
        if self.computing is not None:
            self.computing.cancel()
        return True


class CachedModel:
    """Stands before `compute`. `identity` is what the answers depend on beside the request: name, version, config."""

    def __init__(
        self, cache: Cache, name: str, version: int, statistics: Statistics, compute: Compute, clock: Clock
    ) -> None:
        self._cache = cache
        self._name = name
        self._version = str(version)
        self._statistics = statistics
        self._compute = compute
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._salt = b""

    def renew(self, identity: str) -> None:
        """The model is not what it was: answers of before are not found any more.

        Where only this process sees the cache, no model finds what another load of it has left; where others do, those
        with the same `identity` share.
        """
        text = f"{len(self._name)}:{self._name}:{self._version}:{identity}".encode()
        self._salt = blake2b(text + (b"" if self._cache.shared else os.urandom(16)), digest_size=32).digest()

    def infer(self, request: InferRequest, rows: int) -> asyncio.Future[InferResponse]:
        """The answer to a checked request, which skips queue and model if it was given before."""
        began = self._clock()
        key = key_of(self._salt, request)
        answer = CachedAnswer(loop=self._loop)
        self._cache.look_up(key, partial(self._found, answer, request, rows, key, began))
        return answer

    def _found(
        self, answer: CachedAnswer, request: InferRequest, rows: int, key: bytes, began: int, entry: Entry | None
    ) -> None:
        if answer.done():
            return
        now = self._clock()
        if entry is None:
            self._statistics.cache_missed(now - began)
            self._start(answer, request, rows, key)
            return
        self._statistics.cache_hit(now - began)
        if request.lease is not None:
            request.lease.release()
        if request.trace is not None:
            request.trace.settled()
        answer.set_result(entry.response(self._name, self._version, request.id))

    def _start(self, answer: CachedAnswer, request: InferRequest, rows: int, key: bytes) -> None:
        try:
            computing = self._compute(request, rows)
        except ServerError as error:
            answer.set_exception(error)
            return
        answer.computing = computing
        computing.add_done_callback(partial(self._computed, answer, key, self._salt))

    def _computed(
        self, answer: CachedAnswer, key: bytes, salt: bytes, computing: asyncio.Future[InferResponse]
    ) -> None:
        if computing.cancelled():
            answer.cancel()
            return
        error = computing.exception()
        if error is not None:
            if not answer.done():
                answer.set_exception(error)
            return
        response = computing.result()
        if salt == self._salt:
            self._keep(key, response)
        if answer.done():
            response.release()
        else:
            answer.set_result(response)

    def _keep(self, key: bytes, response: InferResponse) -> None:
        if sum(len(output.data) for output in response.outputs) > self._cache.largest:
            return
        began = self._clock()
        self._cache.insert(key, Entry.of(response))
        self._statistics.cache_inserted(self._clock() - began)
