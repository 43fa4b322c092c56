"""From a folder to models that serve: read and complete the configuration, start the instances.

The first process that is started to complete a version's configuration stays on as its first instance. Reading files
happens in worker threads; how many processes start at once is bounded, how long a model takes to initialize is not.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pyserver.errors import invalid
from pyserver.instance.instance import Instance
from pyserver.instance.memory import RequestMemory
from pyserver.instance.spec import InstanceSpec
from pyserver.instance.supervisor import Supervisor
from pyserver.model.model import Model
from pyserver.repository import config as configs
from pyserver.repository.repository import ModelFolder
from pyserver.scheduler.queue import Limits
from pyserver.settings import Settings
from pyserver.types import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be started: a folder, its configuration as written, and the versions that the policy selects."""

    folder: ModelFolder
    config: Any
    versions: tuple[int, ...]


class Loader:
    """Makes plans, and models from them."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._slots = asyncio.Semaphore(settings.load_limit)
        self._backends = [Path(path).resolve() for path in settings.backend_directory] + [configs.BUNDLED_BACKENDS]

    async def plan(self, folder: ModelFolder, config: str | None, files: Mapping[str, bytes] | None) -> Plan:
        """Read what `folder` says; `config` (JSON) stands in for its config.pbtxt. ServerError says what is wrong."""
        return await self._in_thread(self._read, folder, config)

    async def start(self, plan: Plan) -> list[Model]:
        """Every version of the plan, ready to serve. If one fails the others are stopped and its ServerError raised."""
        tasks = [asyncio.ensure_future(self._start_version(plan, version)) for version in plan.versions]
        await asyncio.wait(tasks)
        failed = [task for task in tasks if task.exception() is not None]
        if failed:
            await asyncio.gather(*(task.result().stop(0.0) for task in tasks if task not in failed))
            failed[0].result()
        return [task.result() for task in tasks]
