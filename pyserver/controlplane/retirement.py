"""Models that go: they finish what they have accepted in the background, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Iterable

from pyserver.controlplane.planner import Planner
from pyserver.instance.supervisor import Supervisor
from pyserver.model.model import Model
from pyserver.model.plan import Plan
from pyserver.model.registry import UNLOADED, ModelEntry, Registry, State, VersionEntry

log = logging.getLogger(__name__)


class Retirement:
    """Whoever is on the way out; each has `drain` seconds unless it is said otherwise."""

    def __init__(self, registry: Registry, planner: Planner, drain: float) -> None:
        self._registry = registry
        self._planner = planner
        self._drain = drain
        self._going: set[asyncio.Future[object]] = set()

    def take_down(self, entry: ModelEntry, timeout: float | None = None, forget: bool = False) -> None:
        """Stop serving a model; with `forget` it is then no longer in the index."""
        going: list[tuple[Model, VersionEntry | None]] = []
        for model in entry.serving().values():
            found = entry.versions[model.version]
            found.state, found.reason = State.UNLOADING, ""
            going.append((model, found))
        for found in entry.versions.values():
            if found.state is State.UNAVAILABLE:
                found.reason, found.model = UNLOADED, None
        plan, entry.plan = entry.plan, None
        self._registry.changed()
        self._begin(
            self._retire(going, self._drain if timeout is None else timeout, plan, entry.name if forget else "")
        )

    def replaced(self, models: Iterable[Model], leftover: Plan | None) -> None:
        """Others serve in the place of `models`; nothing runs from `leftover` any more."""
        self._begin(self._retire([(model, None) for model in models], self._drain, leftover))

    def surplus(self, places: Iterable[Supervisor]) -> None:
        """A model that serves on has no more need of these instances."""
        self._begin(asyncio.gather(*(place.stop(self._drain) for place in places)))

    async def over(self) -> None:
        """Returns when all that were on the way out are gone."""
        await asyncio.gather(*self._going)

    def _begin(self, work: Awaitable[object]) -> None:
        task = asyncio.ensure_future(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def _retire(
        self, going: list[tuple[Model, VersionEntry | None]], timeout: float, leftover: Plan | None, forget: str = ""
    ) -> None:
        await asyncio.gather(*(_stop(model, found, timeout) for model, found in going))
        if leftover is not None:
            await self._planner.drop(leftover)
        entry = self._registry.known(forget)
        if entry is not None and not any(found.wanted for found in entry.versions.values()):
            self._registry.forget(forget)
        going.clear()
        # Requests that failed may hang on in circles, with views of the model's memory; most of the heap is frozen.
        gc.collect()


async def _stop(model: Model, found: VersionEntry | None, timeout: float) -> None:
    await model.stop(timeout)
    if found is not None:
        found.state, found.reason, found.model = State.UNAVAILABLE, UNLOADED, None
    log.info("successfully unloaded '%s' version %d", model.name, model.version)
