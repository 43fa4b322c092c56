"""From a folder to models that serve: read and complete the configuration, start the instances.

The process that is started to complete a version's configuration stays on as its first instance. Reading files happens
in worker threads; how many processes start at once is bounded, how long a model takes to initialize is not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pyserver.cache.cache import Cache
from pyserver.errors import unsupported
from pyserver.instance.instance import Instance
from pyserver.instance.memory import RequestMemory
from pyserver.instance.spec import InstanceSpec
from pyserver.instance.supervisor import Supervisor
from pyserver.model.ensemble.ensemble import Ensemble
from pyserver.model.launch import Launch
from pyserver.model.model import Model
from pyserver.repository import complete, document, validate, versions
from pyserver.repository import config as configs
from pyserver.repository.backends import ENSEMBLE
from pyserver.repository.instances import instances
from pyserver.repository.repository import ModelFolder
from pyserver.scheduler.policy import Limits
from pyserver.settings import Settings
from pyserver.types import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be started: a folder, its configuration as written, and the versions that the policy selects."""

    folder: ModelFolder
    config: Any
    versions: tuple[int, ...]


class Loader:
    """Makes plans, and models from them. What it can't do is a ServerError."""

    def __init__(self, settings: Settings, clock: Clock, cache: Cache | None = None) -> None:
        self._settings = settings
        self._cache = cache
        self._clock = clock
        self._slots = asyncio.Semaphore(settings.load_limit)
        self._limits = Limits(settings.max_queue_requests, settings.max_queue_bytes)
        self._launch = Launch(settings)

    async def plan(self, folder: ModelFolder, override: str | None) -> Plan:
        """Read what `folder` says; `override` (JSON) stands in for its config.pbtxt."""
        return await asyncio.get_running_loop().run_in_executor(None, self._plan, folder, override)

    async def start(self, plan: Plan) -> list[Model]:
        """Every version of the plan, ready to serve; if one fails, none."""
        tasks = [asyncio.ensure_future(self._start_version(plan, version)) for version in plan.versions]
        try:
            return await all_or_error(tasks)
        except BaseException:
            for task in tasks:
                if not task.cancelled() and task.exception() is None:
                    await task.result().stop(0.0)
            raise

    def _plan(self, folder: ModelFolder, override: str | None) -> Plan:
        config = configs.prepare(folder, override, self._settings.model_config_name)
        _check_supported(config)
        return Plan(folder, config, tuple(versions.select(config, folder.versions())))

    async def _start_version(self, plan: Plan, version: int) -> Model:
        ensemble = plan.config.platform == ENSEMBLE
        model = self._ensemble(plan, version) if ensemble else await self._start_instances(plan, version)
        if self._cache is not None and model.config.response_cache.enable:
            model.cache_with(self._cache)
        return model

    async def _start_instances(self, plan: Plan, version: int) -> Model:
        began = self._clock()
        memory = RequestMemory(plan.folder.name, self._settings.model_memory)
        try:
            first, config = await self._first_instance(plan, version, memory)
            model = await self._with_instances(plan, config, version, memory, first)
        except BaseException:
            memory.close()
            raise
        model.load_seconds = (self._clock() - began) / 1e9
        return model

    def _ensemble(self, plan: Plan, version: int) -> Ensemble:
        """A model without instances, not linked yet."""
        validate.check(plan.config)
        text = document.to_json(plan.config)
        return Ensemble(plan.folder.name, version, plan.config, text, self._limits, self._clock)

    async def _first_instance(self, plan: Plan, version: int, memory: RequestMemory) -> tuple[Instance, Any]:
        """Start a process that completes the configuration: the instance that it will be, and what it said."""
        completing = not self._settings.disable_auto_complete_config
        first = Instance(self._specs(plan, plan.config, version)[0], memory, self._clock, _ignore)
        async with self._slots:
            completed = await first.start(completing)
        try:
            return first, _completed(plan.config, completed)
        except BaseException:
            await first.stop(0.0)
            raise

    async def _with_instances(
        self, plan: Plan, config: Any, version: int, memory: RequestMemory, first: Instance
    ) -> Model:
        specs = self._specs(plan, config, version)
        model = Model(plan.folder.name, version, config, specs[0].config_json, memory, self._limits, self._clock)
        places = [Supervisor(specs[0], memory, self._clock, model.instance_changed, first)]
        places += [Supervisor(spec, memory, self._clock, model.instance_changed) for spec in specs[1:]]
        model.supervisors = places
        try:
            await all_or_error([asyncio.ensure_future(self._start_place(place)) for place in places])
        except BaseException:
            await asyncio.gather(*(place.stop(0.0) for place in places))
            raise
        return model

    async def _start_place(self, place: Supervisor) -> None:
        async with self._slots:
            await place.load()
        await place.initialize()

    def _specs(self, plan: Plan, config: Any, version: int) -> list[InstanceSpec]:
        text = document.to_json(config)
        return [self._launch.spec(plan.folder, config, text, version, entry) for entry in instances(config)]


async def all_or_error(tasks: Sequence[asyncio.Future[T]]) -> list[T]:
    """The results of all, once all are done; the first error if there was one. Cancels them when cancelled."""
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
    return [task.result() for task in tasks]


def _completed(config: Any, said: str | None) -> Any:
    """`config` with what the model said of itself (JSON), or as it is if it said nothing; checked either way."""
    if said is None:
        validate.check(config)
        return config
    completion = complete.merge(config, said)
    if completion.ignored:
        log.warning(
            "model '%s': auto_complete_config changed %s, which only its configuration file can",
            config.name, ", ".join(completion.ignored),
        )  # fmt: skip
    _check_supported(completion.config)
    return completion.config


def _check_supported(config: Any) -> None:
    if config.HasField("sequence_batching"):
        raise unsupported(f"model '{config.name}': sequence_batching is not supported yet")


def _ignore(instance: Instance) -> None:
    """Nobody needs to know what becomes of an instance that is starting: `start` raises."""
