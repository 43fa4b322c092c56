"""From a load request to a plan: the repository's files, or those that came along, read off the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from pyserver.controlplane.overrides import Override
from pyserver.model.loader import Loader
from pyserver.model.plan import Plan
from pyserver.repository import uploads
from pyserver.repository.fingerprint import Fingerprint
from pyserver.repository.folder import ModelFolder
from pyserver.repository.repository import ModelRepository

T = TypeVar("T")


class Planner:
    """Makes the plans of a repository's models, and clears away what was made for one."""

    def __init__(self, repository: ModelRepository, loader: Loader) -> None:
        self._repository = repository
        self._loader = loader

    async def plan(self, name: str, override: Override | None, served: Plan | None) -> Plan:
        """What to load for `name`, which is `served` now; a ServerError if there is no such model, or it is no good.

        An earlier override, and files that came with one, hold until the folder on disk changes (Triton's rule).
        """
        await in_thread(self._repository.scan)
        disk = self._repository.folders().get(name)
        if override is not None and override.files:
            return await self._of_upload(name, override, disk)
        overridden = override is None and served is not None and served.override is not None
        if served is not None and overridden and await in_thread(lambda: _seen(disk)) == served.disk:
            return served
        folder = self._repository.find(name)
        return await self._loader.plan(folder, override.config if override else None, folder)

    async def drop(self, plan: Plan) -> None:
        """Nothing runs from `plan` any more: remove the files that were uploaded for it."""
        if plan.uploaded:
            await in_thread(lambda: uploads.remove(plan.folder))

    async def _of_upload(self, name: str, override: Override, disk: ModelFolder | None) -> Plan:
        folder = await in_thread(lambda: uploads.write(name, override.files))
        try:
            return await self._loader.plan(folder, override.config, disk)
        except BaseException:
            uploads.remove(folder)
            raise


def _seen(disk: ModelFolder | None) -> Fingerprint | None:
    return disk.fingerprint() if disk is not None else None


async def in_thread(work: Callable[[], T]) -> T:
    """Do `work` where it may block."""
    return await asyncio.get_running_loop().run_in_executor(None, work)
