"""Poll mode: the models follow what is in the repositories."""

from __future__ import annotations

import asyncio
import logging

from pyserver.controlplane.loads import Loads
from pyserver.controlplane.planner import in_thread
from pyserver.controlplane.retirement import Retirement
from pyserver.errors import ServerError
from pyserver.model.registry import Registry
from pyserver.repository.repository import ModelRepository
from pyserver.repository.watch import Watch

log = logging.getLogger(__name__)

SETTLE = 0.5
"""Seconds in which a model's folder has to stay as it is to be more than half written."""


class Polling:
    """Looks at the repositories, and acts on what has changed since it last did."""

    def __init__(self, registry: Registry, repository: ModelRepository, loads: Loads, retirement: Retirement) -> None:
        self._registry = registry
        self._loads = loads
        self._retirement = retirement
        self._watch = Watch(repository)

    async def begin(self) -> None:
        """What is there now is no news: it is about to be loaded."""
        looks = await in_thread(self._watch.look)
        for name in looks:
            self._watch.act(name, looks)

    async def run(self, seconds: float) -> None:
        """Look every `seconds`, for ever; what can't be read now may be read the next time."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self._look(min(SETTLE, seconds))
            except ServerError as error:
                log.error("%s", error.message)
            except Exception:
                log.exception("looking for changes in the model repositories")

    async def _look(self, settle: float) -> None:
        """Load what is new in the repositories or has changed, unload what is gone; the rest of what is being written
        waits for the next look: a change counts if it is the same `settle` seconds later.
        """
        before = await in_thread(self._watch.look)
        changed = self._watch.changed(before)
        if not changed:
            return
        await asyncio.sleep(settle)
        looks = await in_thread(self._watch.look)
        settled = sorted(name for name in changed if before.get(name) == looks.get(name))
        for name in settled:
            self._watch.act(name, looks)
        for name in [name for name in settled if name not in looks]:
            async with self._loads.lock(name):
                self._retirement.take_down(self._registry.entry(name), forget=True)
        await self._loads.bring_up_all([name for name in settled if name in looks])
