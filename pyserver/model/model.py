"""One version of a model, serving: a signature to check requests, a scheduler, and the instances that run them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

from pyserver.cache.cache import Cache
from pyserver.errors import ServerError, unsupported
from pyserver.instance.memory import Block, RequestMemory
from pyserver.instance.supervisor import Supervisor
from pyserver.model.answer import Answer
from pyserver.model.cached import CachedModel
from pyserver.model.scheduling import make_scheduler
from pyserver.model.signature import Signature
from pyserver.model.statistics import Statistics
from pyserver.payload import Pending
from pyserver.scheduler.policy import Limits
from pyserver.scheduler.scheduler import closed
from pyserver.types import Clock, InferRequest, InferResponse


class Model:
    """Takes requests while it has an instance that lives, or will live again in a moment.

    `config` is the normalised ModelConfig message, `config_json` the same as Triton prints it. `memory` is None for a
    model without instances. `users` are the models, ensembles, that send it requests of their own.
    """

    def __init__(
        self,
        name: str,
        version: int,
        config: Any,
        config_json: str,
        memory: RequestMemory | None,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self.name = name
        self.version = version
        self.config = config
        self.config_json = config_json
        self.decoupled = bool(config.model_transaction_policy.decoupled)
        self.load_seconds = 0.0
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.statistics = Statistics()
        self.scheduler = make_scheduler(name, config, limits, clock, self._call_at, self.statistics)
        self.cached: CachedModel | None = None
        self.supervisors: list[Supervisor] = []
        self.users: weakref.WeakSet[Model] = weakref.WeakSet()
        self._memory = memory
        self._signature = Signature.of(name, config)

    @property
    def ready(self) -> bool:
        """Whether an instance lives that would run a request sent now."""
        return any(supervisor.ready for supervisor in self.supervisors)

    def infer(self, request: InferRequest, checked: int = 0) -> asyncio.Future[InferResponse]:
        """Check `request` and schedule it: a future of the answer, or a ServerError at once.

        `checked` is the rows of a request that the cache has been asked about, and comes back.
        """
        if self.decoupled:
            raise unsupported(
                f"model '{self.name}': inference doesn't support models with decoupled transaction policy"
            )
        rows = checked or self._signature.check(request)
        if self.cached is not None and not checked:
            return self.cached.infer(request, rows)
        nbytes = 0
        for tensor in request.inputs:
            nbytes += len(tensor.data)
        answer = Answer(loop=self._loop)
        pending = Pending(request, answer, self._clock(), rows, nbytes)
        answer.pending = pending
        answer.abandon = self.scheduler.cancel
        if self._signature.reshapes:
            answer.restore = self._signature.restore
        self.scheduler.submit(pending)
        self.statistics.touch()
        return answer

    @property
    def identity(self) -> str:
        """What its answers depend on, as far as configurations say it."""
        return self.config_json

    def cache_with(self, cache: Cache) -> None:
        """Look requests up in `cache` before they are scheduled."""
        self.cached = CachedModel(cache, self.name, self.version, self.statistics, self.infer, self._clock)
        self.cached.renew(self.identity)

    def reserve(self, nbytes: int, header: int) -> Block | None:
        """A block of request memory to receive a body of `nbytes` into; None when there is no room for it."""
        return self._memory.reserve(nbytes, header) if self._memory is not None else None

    def instance_changed(self, supervisor: Supervisor) -> None:
        """An instance became ready, died, or was given up: let the scheduler know what it may use and accept."""
        if supervisor.ready:
            self.scheduler.add(supervisor.instance)
            self.scheduler.open()
            return
        self.scheduler.remove(supervisor.instance)
        if not any(found.ready or found.coming for found in self.supervisors):
            error = self.unready(supervisor.reason)
            self.scheduler.close(error)
            self.scheduler.abandon(error)

    def _call_at(self, when_ns: int, call: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_later(max(0, when_ns - self._clock()) / 1e9, call)

    def unready(self, reason: str) -> ServerError:
        """What a request gets while no instance lives."""
        return closed(self.name, reason)

    async def stop(self, timeout: float) -> None:
        """Refuse new requests, let those accepted finish within `timeout` seconds, end the instances.

        What an ensemble has accepted still finds the models of its steps.
        """
        deadline = self._loop.time() + timeout
        while not all(user.scheduler.idle for user in self.users) and self._loop.time() < deadline:
            await asyncio.sleep(0.005)
        self.scheduler.close(self.unready("it is being unloaded"))
        while not self.scheduler.idle and self._loop.time() < deadline:
            await asyncio.sleep(0.005)
        self.scheduler.abandon(self.unready("it was unloaded before the request could run"))
        left = max(0.5, deadline - self._loop.time())
        await asyncio.gather(*(supervisor.stop(left) for supervisor in self.supervisors))
        if self._memory is not None:
            self._memory.close()
