"""Keeps an instance alive: when its process dies another one is started, soon at first, later less soon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pyserver.errors import ServerError
from pyserver.instance.backoff import DEATHS, SECOND, WINDOW_NS, Backoff
from pyserver.instance.forkserver import ForkServers
from pyserver.instance.instance import Instance, WarmUp
from pyserver.instance.memory import RequestMemory
from pyserver.instance.services import Services
from pyserver.instance.spec import InstanceSpec
from pyserver.types import Clock

log = logging.getLogger(__name__)


class Supervisor:
    """One place in a model's instance group, and whoever fills it: `instance`.

    `on_change` is called when the instance becomes ready, when it stops being so, and when a start failed. `ready` says
    whether there is one to send to, `coming` whether there will be one soon, `reason` why there is none.
    `warm_up` is what every instance does before it is ready.
    `first` is an instance that was started already, to complete the configuration: it is initialized with `spec`.
    """

    def __init__(
        self,
        spec: InstanceSpec,
        requests: RequestMemory,
        clock: Clock,
        on_change: Callable[[Supervisor], None],
        first: Instance | None = None,
        backoff: Backoff | None = None,
        services: Services | None = None,
        fork_servers: ForkServers | None = None,
    ) -> None:
        self.spec = spec
        self.reason = "it is loading"
        self.restarts = 0
        self.warm_up: WarmUp | None = None
        self._requests = requests
        self._clock = clock
        self._services = services
        self._fork_servers = fork_servers
        self._on_change = on_change
        self._backoff = backoff or Backoff()
        self._loaded = first is not None
        self._kept = False  # it was ready once, and is wanted still
        self._restarting: asyncio.Task[None] | None = None
        self.instance = first or self._make()
        self.instance.spec = spec
        self.instance.on_change = self._changed

    @property
    def ready(self) -> bool:
        """Whether the instance executes what it is given."""
        return self.instance.ready

    @property
    def coming(self) -> bool:
        """Whether an instance is on its way that may be counted on."""
        return self._kept and not self.ready and not self._backoff.broken

    async def load(self, timeout: float | None = None) -> None:
        """Start the first process and import the model: LoadError, with nothing left behind, if that fails."""
        if not self._loaded:
            self._loaded = True
            await self.instance.start(timeout=timeout)

    async def initialize(self, timeout: float | None = None) -> None:
        """Let the first instance initialize: LoadError, with nothing left behind, if that fails."""
        await self.instance.initialize(timeout, self.warm_up)

    async def stop(self, timeout: float) -> None:
        """End the instance for good, as `Instance.stop` does."""
        self._kept = False
        self.reason = "it is being unloaded"
        restarting, self._restarting = self._restarting, None
        if restarting is not None:
            restarting.cancel()
            await asyncio.wait((restarting,))
        await self.instance.stop(timeout)

    def _make(self) -> Instance:
        return Instance(self.spec, self._requests, self._clock, self._changed, self._services, self._fork_servers)

    def _changed(self, instance: Instance) -> None:
        if instance.ready:
            self._kept = True
            self._backoff.ready(self._clock())
            self.reason = ""
        elif not self._kept:
            return
        elif instance.gone and self._restarting is None:
            delay = self._mourn(instance.reason)
            self._restarting = asyncio.get_running_loop().create_task(self._restart(delay))
        self._on_change(self)

    def _mourn(self, why: str) -> float:
        """Note a death; how many seconds to wait before the next start."""
        delay = self._backoff.died(self._clock()) / SECOND
        self.reason = f"instance '{self.spec.name}' died: {why}"
        if self._backoff.broken:
            self.reason = f"instance '{self.spec.name}' died {DEATHS} times in {WINDOW_NS // SECOND} s, at last: {why}"
        log.error("model '%s': %s; next start in %g s", self.spec.model_name, self.reason, delay)
        return delay

    async def _restart(self, delay: float) -> None:
        """Start instances until one is ready."""
        while True:
            await asyncio.sleep(delay)
            self.instance = self._make()
            self.restarts += 1
            try:
                await self.instance.start()
                await self.instance.initialize(warm_up=self.warm_up)
            except (ServerError, OSError) as error:
                delay = self._mourn(str(error))
                self._on_change(self)
                continue
            self._restarting = None
            log.info("model '%s': instance '%s' is ready again", self.spec.model_name, self.spec.name)
            return
