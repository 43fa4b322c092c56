"""From a folder to models that serve: read and complete the configuration, start the instances.

The process that is started to complete a version's configuration stays on as its first instance. Reading files happens
in worker threads; how many processes start at once is bounded, how long a model takes to initialize is not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pyserver.cache.cache import Cache
from pyserver.errors import ServerError
from pyserver.instance.forkserver import ForkServers
from pyserver.instance.instance import Instance
from pyserver.instance.memory import RequestMemory
from pyserver.instance.patience import LoadError
from pyserver.instance.services import Services
from pyserver.instance.spec import InstanceSpec
from pyserver.instance.supervisor import Supervisor
from pyserver.model.ensemble.ensemble import Ensemble
from pyserver.model.labels import read_labels
from pyserver.model.launch import Launch
from pyserver.model.model import Model
from pyserver.model.plan import Plan
from pyserver.model.seats import make_seats
from pyserver.model.sequencing import read_initial_states
from pyserver.model.signature import Signature
from pyserver.model.warmup import Samples, WarmUp
from pyserver.observe import metrics_config
from pyserver.proto.model_config import ModelConfig
from pyserver.repository import complete, devices, document, validate
from pyserver.repository import config as configs
from pyserver.repository.backends import ENSEMBLE
from pyserver.repository.folder import ModelFolder
from pyserver.repository.instances import instances
from pyserver.scheduler.policy import Limits
from pyserver.scheduler.rate_limiter import RateLimiter, parse_resources
from pyserver.settings import Settings
from pyserver.settings.machine import gpus
from pyserver.types import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")


class Loader:
    """Makes plans, and models from them. What it can't do is a ServerError.

    In the `foreground` a model has one instance, which has the terminal and all the time it wants.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        services: Services | None = None,
        cache: Cache | None = None,
        fork_servers: ForkServers | None = None,
        foreground: bool = False,
    ) -> None:
        self._settings = settings
        self._cache = cache
        self._foreground = foreground
        self._clock = clock
        self._services = services
        self._fork_servers = fork_servers
        self._slots = asyncio.Semaphore(settings.load_limit)
        timeout_us = int(settings.default_queue_timeout_secs * 1e6)
        self._limits = Limits(settings.max_queue_requests, settings.max_queue_bytes, timeout_us)
        self._limiter = None
        if settings.rate_limit != "off":
            self._limiter = RateLimiter(parse_resources(settings.rate_limit_resource))
        self._launch = Launch(settings)
        wanted = metrics_config.parse(settings.metrics_config)
        self._metrics = wanted if wanted.summary_latencies or wanted.histogram_latencies else None

    async def plan(self, folder: ModelFolder, override: str | None, disk: ModelFolder | None) -> Plan:
        """Read what `folder` says; `override` (JSON) stands in for its config.pbtxt.

        `disk` is the model's folder in the repository, None if it has none: `folder` itself, unless that was uploaded.
        """
        return await asyncio.get_running_loop().run_in_executor(None, self._plan, folder, override, disk)

    async def start(self, plan: Plan, report: Callable[[str], None] = log.info) -> list[Model]:
        """Every version of the plan, ready to serve; if one fails, none. `report` hears what takes its time."""
        labels = await self._in_thread(read_labels, plan.folder.path, plan.config)
        if plan.config.platform == ENSEMBLE:
            models: list[Model] = [await self._ensemble(plan, version) for version in plan.versions]
        else:
            models = await self._equip_and_start(plan, report)
        for model in models:
            model.labels = labels
            if self._cache is not None and model.config.response_cache.enable:
                model.cache_with(self._cache)
            if self._metrics is not None:
                model.measure(self._metrics)
        return models

    async def _ensemble(self, plan: Plan, version: int) -> Ensemble:
        """A model without instances, not linked yet."""
        validate.check(plan.config)
        text = document.to_json(plan.config)
        ensemble = Ensemble(plan.folder.name, version, plan.config, text, self._limits, self._clock)
        if plan.config.model_warmup:
            ensemble.samples = await self._samples(plan.folder.path, plan.config, version)
        return ensemble

    async def _equip_and_start(self, plan: Plan, report: Callable[[str], None]) -> list[Model]:
        for version in plan.versions:
            await self._launch.equip(plan.folder, plan.config_of(version), version, report)
        try:
            return await self._try_start(plan)
        except ServerError as error:
            self._launch.explain(plan.folder, error)
            raise

    async def _try_start(self, plan: Plan) -> list[Model]:
        for left in range(self._settings.model_load_retry_count, 0, -1):
            try:
                return await self._start(plan)
            except LoadError as error:
                log.warning("model '%s' failed to load, %d more tries: %s", plan.folder.name, left, error.message)
        return await self._start(plan)

    async def resize(self, plan: Plan, model: Model) -> list[Supervisor]:
        """Give `model` the instance groups of `plan`: start what is new beside the rest, or nothing if that fails.

        Returns the places that it has no more, for the caller to stop. The others run on as they are.
        """
        config = ModelConfig()
        config.CopyFrom(model.config)
        config.ClearField("instance_group")
        config.instance_group.MergeFrom(plan.config_of(model.version).instance_group)
        specs = {_place(spec): spec for spec in self._specs(plan, config, model.version)}
        there = {_place(supervisor.spec): supervisor for supervisor in model.instances}
        model.instances.seats.update(make_seats(config, self._limiter))
        added = [self._supervisor(spec, model) for place, spec in specs.items() if place not in there]
        await self._start_places(added)
        kept = [supervisor for place, supervisor in there.items() if place in specs]
        for supervisor in kept:
            supervisor.spec = specs[_place(supervisor.spec)]
        model.rearrange(config, document.to_json(config), [*kept, *added])
        return [supervisor for place, supervisor in there.items() if place not in specs]

    def _plan(self, folder: ModelFolder, override: str | None, disk: ModelFolder | None) -> Plan:
        seen = disk.fingerprint() if disk is not None else None  # first: a change meanwhile is one more change
        known = gpus()
        found = configs.prepare_versions(folder, override, self._settings.model_config_name, known)
        for config in found.values():
            devices.check(config, known)
        default = found[max(found)]
        own = found if folder.of_mlserver else {}
        return Plan(folder, default, tuple(found), seen, override, uploaded=folder != disk, configs=own)

    async def _start(self, plan: Plan) -> list[Model]:
        tasks = [asyncio.ensure_future(self._start_version(plan, version)) for version in plan.versions]
        try:
            return await all_or_error(tasks)
        except BaseException:
            for task in tasks:
                if not task.cancelled() and task.exception() is None:
                    await task.result().stop(0.0)
            raise

    async def _start_version(self, plan: Plan, version: int) -> Model:
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

    async def _first_instance(self, plan: Plan, version: int, memory: RequestMemory) -> tuple[Instance, Any]:
        """Start a process that completes the configuration: the instance that it will be, and what it said."""
        completing = not self._settings.disable_auto_complete_config
        config = plan.config_of(version)
        spec = self._specs(plan, config, version)[0]
        first = Instance(spec, memory, self._clock, _ignore, self._services, self._fork_servers)
        async with self._slots:
            completed = await first.start(completing)
        try:
            return first, _completed(config, completed)
        except BaseException:
            await first.stop(0.0)
            raise

    async def _with_instances(
        self, plan: Plan, config: Any, version: int, memory: RequestMemory, first: Instance
    ) -> Model:
        try:
            specs = self._specs(plan, config, version)
            initial = await self._in_thread(read_initial_states, plan.folder.path, config)
            model = Model(
                plan.folder.name, version, config, specs[0].config_json, memory, self._limits, self._clock,
                make_seats(config, self._limiter), self._limiter, initial,
            )  # fmt: skip
            if config.model_warmup:
                samples = await self._samples(plan.folder.path, config, version)
                model.warm_up = WarmUp(samples, model.statistics, self._clock)
        except BaseException:
            await first.stop(0.0)
            raise
        places = [self._supervisor(specs[0], model, first)]
        places += [self._supervisor(spec, model) for spec in specs[1:]]
        model.instances.places = places
        await self._start_places(places)
        return model

    async def _start_places(self, places: Sequence[Supervisor]) -> None:
        """All of them, or none."""
        if not places:
            return
        try:
            await all_or_error([asyncio.ensure_future(self._start_place(place)) for place in places])
        except BaseException:
            await asyncio.gather(*(place.stop(0.0) for place in places))
            raise

    async def _samples(self, folder: Path, config: Any, version: int) -> Samples:
        return await self._in_thread(Samples, folder, config, Signature.of(config.name, config), version)

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)

    async def _start_place(self, place: Supervisor) -> None:
        async with self._slots:
            await place.load()
        await place.initialize()

    def _supervisor(self, spec: InstanceSpec, model: Model, first: Instance | None = None) -> Supervisor:
        assert model.memory is not None, "only an ensemble has none, and it has no instances"
        supervisor = Supervisor(
            spec, model.memory, self._clock, model.instances.changed, first,
            services=self._services, fork_servers=self._fork_servers,
        )  # fmt: skip
        supervisor.warm_up = model.warm_up
        return supervisor

    def _specs(self, plan: Plan, config: Any, version: int) -> list[InstanceSpec]:
        text = document.to_json(config)
        entries = instances(config)
        specs = [self._launch.spec(plan.folder, config, text, version, entry, len(entries)) for entry in entries]
        if self._foreground:
            return [replace(specs[0], foreground=True, silence=0.0, load_limit=0.0, execution_limit=0.0)]
        return specs


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
    return completion.config


def _ignore(instance: Instance) -> None:
    """Nobody needs to know what becomes of an instance that is starting: `start` raises."""


def _place(spec: InstanceSpec) -> tuple[str, str, str]:
    """What makes an instance the same one before and after its model's groups have changed."""
    return spec.name, spec.kind, spec.device_id
