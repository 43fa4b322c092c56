"""Models that load, or reload: started beside what serves, which goes once they serve, or stays if they fail."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from pyserver.controlplane import callgraph
from pyserver.controlplane.index import load_failed, reason
from pyserver.controlplane.order import LoadOrder
from pyserver.controlplane.overrides import Override
from pyserver.controlplane.planner import Planner
from pyserver.controlplane.retirement import Retirement
from pyserver.errors import ErrorCode, ServerError, internal, unavailable
from pyserver.instance.supervisor import Supervisor
from pyserver.model import plan as plans
from pyserver.model.ensemble.links import Links
from pyserver.model.loader import Loader
from pyserver.model.plan import Change, Plan
from pyserver.model.registry import ModelEntry, Registry, State, VersionEntry
from pyserver.repository.repository import ModelRepository

log = logging.getLogger(__name__)


class Loads:
    """Brings models up, one change to a model at a time."""

    def __init__(
        self, registry: Registry, repository: ModelRepository, loader: Loader, planner: Planner, retirement: Retirement
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._loader = loader
        self._planner = planner
        self._retirement = retirement
        self._links = Links(registry)
        self._order = LoadOrder()
        self._starting: frozenset[str] = frozenset()
        self._locks: dict[str, asyncio.Lock] = {}
        self._loading: set[asyncio.Task[None]] = set()
        self._stopping = False

    def lock(self, name: str) -> asyncio.Lock:
        """What whoever changes a model holds."""
        return self._locks.setdefault(name, asyncio.Lock())

    def cancel(self) -> None:
        """Give up whatever is loading, and load nothing more: the server is going."""
        self._stopping = True
        for task in self._loading:
            task.cancel()

    async def over(self) -> None:
        """Returns when nothing is loading."""
        await asyncio.gather(*self._loading, return_exceptions=True)

    async def bring_up(self, name: str, override: Override | None = None) -> None:
        """Make the versions that the policy selects serve, then let go of those that served before."""
        if self._stopping:
            raise _going(name)
        task = asyncio.get_running_loop().create_task(self._bring_up(name, override))
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)
        try:
            await task
        except asyncio.CancelledError:
            if self._stopping:
                raise _going(name) from None
            raise

    async def bring_up_all(self, names: list[str]) -> list[str]:
        """Bring up all of these; the names of those that failed, which `_failed` has logged."""
        self._starting = frozenset(names)
        results = await asyncio.gather(*(self.bring_up(name) for name in names), return_exceptions=True)
        self._starting = frozenset()
        failed = []
        for name, result in zip(names, results, strict=True):
            if isinstance(result, BaseException):
                failed.append(name)
                if not isinstance(result, ServerError):
                    log.error("failed to load '%s'", name, exc_info=result)
        return failed

    async def _bring_up(self, name: str, override: Override | None) -> None:
        async with self.lock(name):
            served = self._registry.known(name)
            try:
                plan = await self._planner.plan(name, override, served.plan if served else None)
            except Exception as error:
                if served is None and isinstance(error, ServerError) and error.code is ErrorCode.NOT_FOUND:
                    log.error("%s", error.message)
                    raise
                raise self._failed(self._registry.entry(name), error) from error
            entry = self._registry.entry(name)
            change = plans.change(entry.plan, plan) if entry.whole else Change.ALL
            try:
                if change is Change.ALL:
                    await self._replace(entry, plan)
                elif change is Change.INSTANCES:
                    await self._resize(entry, plan)
            except BaseException as error:
                if plan is not entry.plan:
                    await asyncio.shield(self._planner.drop(plan))
                if isinstance(error, Exception):
                    raise self._failed(entry, error) from error
                self._failed(entry, unavailable("the load was cancelled"))
                raise

    async def _replace(self, entry: ModelEntry, plan: Plan) -> None:
        """Start what `plan` asks for beside what serves, switch, and let the old finish what it has."""
        serving = entry.serving()
        if not serving:
            entry.labels = plan.folder.labels
            self._set(entry, {number: VersionEntry(State.LOADING) for number in plan.versions})
        await self._bring_up_steps(entry.name, sorted(callgraph.composing(plan.config)))
        models = await self._loader.start(plan, entry.loading)
        await self._links.open(models)
        entry.labels = plan.folder.labels
        self._set(entry, {model.version: VersionEntry(State.READY, "", model) for model in models})
        old, entry.plan = entry.plan, plan
        log.info("successfully loaded '%s'", entry.name)
        leftover = old if old is not None and old.folder != plan.folder else None
        if serving or leftover is not None:
            self._retirement.replaced(serving.values(), leftover)

    async def _bring_up_steps(self, name: str, steps: list[str]) -> None:
        """Have the models of an ensemble's steps serve before it does; `Links` tells of those that do not."""
        with self._order.waits(name, steps):
            await asyncio.gather(*(self._bring_up_step(step) for step in steps))

    async def _bring_up_step(self, name: str) -> None:
        async with self.lock(name):
            entry = self._registry.known(name)
        if name in self._starting or name not in self._repository.names or (entry is not None and entry.serving()):
            return
        with suppress(ServerError):  # `_failed` has logged it
            await self.bring_up(name)

    async def _resize(self, entry: ModelEntry, plan: Plan) -> None:
        """Add and remove instances, the others serve on."""
        surplus: list[Supervisor] = []
        for found in entry.versions.values():
            if found.model is not None:
                surplus += await self._loader.resize(plan, found.model)
                found.reason = ""
        entry.plan = plan
        log.info("successfully changed the instances of '%s'", entry.name)
        self._retirement.surplus(surplus)

    def _failed(self, entry: ModelEntry, failure: Exception) -> ServerError:
        """Note why a load failed, in the index and in the log; the error for who asked for it."""
        error = failure if isinstance(failure, ServerError) else internal(f"{type(failure).__name__}: {failure}")
        unforeseen = None if error is failure else failure
        text = getattr(error, "traceback", "") or error.message
        log.error("failed to load '%s': %s", entry.name, text, exc_info=unforeseen)
        serving = entry.serving()
        if serving:
            for number in serving:
                entry.versions[number].reason = f"the last reload failed: {reason(error)}"
        else:
            numbers = [number for number in entry.versions if number] or [0]
            self._set(entry, {number: VersionEntry(State.UNAVAILABLE, reason(error)) for number in numbers})
        return load_failed(entry.name, error, entry)

    def _set(self, entry: ModelEntry, versions: dict[int, VersionEntry]) -> None:
        entry.versions = versions
        self._registry.changed()


def _going(name: str) -> ServerError:
    return unavailable(f"failed to load '{name}': the server is stopping")
