"""What the front ends and the server ask of the repository: index, load, unload. One change to a model at a time."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any

from pyserver.errors import ErrorCode, ServerError, internal, unavailable
from pyserver.instance.supervisor import Supervisor
from pyserver.model import callgraph, overrides
from pyserver.model import plan as plans
from pyserver.model.ensemble.links import Links
from pyserver.model.ensemble.order import LoadOrder
from pyserver.model.index import document, load_failed, reason
from pyserver.model.loader import Loader
from pyserver.model.model import Model
from pyserver.model.overrides import Override
from pyserver.model.plan import Change, Plan
from pyserver.model.planner import Planner, in_thread
from pyserver.model.registry import UNLOADED, ModelEntry, Registry, State, VersionEntry
from pyserver.repository.repository import ModelRepository
from pyserver.repository.watch import Watch

log = logging.getLogger(__name__)

SETTLE = 0.5
"""Seconds in which a model's folder has to stay as it is to be more than half written."""
UPLOAD_LIMIT = 2 << 30
"""Bytes of the files of one load request."""


class ControlPlane:
    """Loads and unloads models. A failing load leaves what served before; one model's trouble is no other's."""

    def __init__(
        self,
        registry: Registry,
        repository: ModelRepository,
        loader: Loader,
        mode: str,
        drain: float,
        upload_limit: int = UPLOAD_LIMIT,
    ) -> None:
        self._registry = registry
        self._links = Links(registry)
        self._order = LoadOrder()
        self._starting: frozenset[str] = frozenset()
        self._asked_for: set[str] = set()
        self._repository = repository
        self._loader = loader
        self._planner = Planner(repository, loader)
        self._mode = mode
        self._drain = drain
        self._upload_limit = upload_limit
        self._watch = Watch(repository)
        self._locks: dict[str, asyncio.Lock] = {}
        self._loading: set[asyncio.Task[None]] = set()
        self._retiring: set[asyncio.Future[object]] = set()
        self._stopping = False

    def index(self, ready_only: bool = False) -> list[dict[str, str]]:
        """The repository index: one document for each version that was ever tried, or for a model never tried."""
        documents: list[dict[str, str]] = []
        seen = set()
        for entry in sorted(self._registry, key=lambda entry: entry.name):
            seen.add(entry.name)
            for number, found in sorted(entry.versions.items()):
                documents.append(document(entry.name, entry.label(number), found))
        documents += [{"name": name} for name in sorted(self._repository.names - seen)]
        if ready_only:
            documents = [document for document in documents if document.get("state") == "READY"]
        return documents

    async def load(self, name: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Load, or reload, a model by request: returns when it serves. ServerError says why it does not.

        `parameters` may hold `config` (JSON text), and with it `file:<path>` (bytes): the model's files, instead of
        those in the repository. What serves already from the same files, with all its instances, is left as it is.
        """
        self._allow()
        await self.bring_up(name, overrides.parse(name, parameters or {}, self._upload_limit))
        self._asked_for.add(name)

    async def unload(self, name: str, unload_dependents: bool = False) -> None:
        """Stop serving a model by request; requests it has accepted finish in the background.

        With `unload_dependents` the models that it alone calls go as well, but for steps of ensembles that were
        loaded by request themselves.
        """
        self._allow()
        async with self._lock(name):
            also = callgraph.only_called_by(name, self._steps(), self._steps_asked_for()) if unload_dependents else []
            self._unload(name)
        for each in also:
            async with self._lock(each):
                self._unload(each)

    def _unload(self, name: str) -> None:
        self._asked_for.discard(name)
        entry = self._registry.known(name)
        if entry is not None:
            self._take_down(entry, self._drain)

    async def start(self, names: list[str] | None) -> list[str]:
        """Load models at start, side by side: all there are (None), or `names`. Returns those that did not load."""
        looks = await in_thread(self._watch.look) if self._mode == "poll" else {}
        for name in looks:
            self._watch.act(name, looks)
        await in_thread(self._repository.scan)
        wanted = sorted(self._repository.names) if names is None else names
        self._asked_for.update(wanted)
        return await self._bring_up_all(wanted)

    async def poll(self, settle: float = SETTLE) -> None:
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
            async with self._lock(name):
                self._take_down(self._registry.entry(name), self._drain, forget=True)
        await self._bring_up_all([name for name in settled if name in looks])

    def cancel_loads(self) -> None:
        """Give up whatever is loading, and load nothing more: the server is going."""
        self._stopping = True
        for task in self._loading:
            task.cancel()

    async def stop(self, timeout: float) -> None:
        """Unload everything, callers before those that they call; returns when every instance has ended."""
        self.cancel_loads()
        await asyncio.gather(*self._loading, return_exceptions=True)
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        self._registry.on_change = None
        calls = self._steps()
        for name, serving in self._serving().items():
            calls[name].update(*(model.calls for model in serving))
        for names in callgraph.layers(calls):
            for name in names:
                self._take_down(self._registry.entry(name), max(0.0, deadline - clock()))
            await asyncio.gather(*self._retiring)
        await asyncio.gather(*self._retiring)

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

    async def _bring_up_all(self, names: list[str]) -> list[str]:
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
        async with self._lock(name):
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
            self._retire([(model, None) for model in serving.values()], self._drain, leftover)

    async def _bring_up_steps(self, name: str, steps: list[str]) -> None:
        """Have the models of an ensemble's steps serve before it does; `Links` tells of those that do not."""
        with self._order.waits(name, steps):
            await asyncio.gather(*(self._bring_up_step(step) for step in steps))

    async def _bring_up_step(self, name: str) -> None:
        async with self._lock(name):
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
        self._in_background(asyncio.gather(*(place.stop(self._drain) for place in surplus)))

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

    def _take_down(self, entry: ModelEntry, timeout: float, forget: bool = False) -> None:
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
        self._retire(going, timeout, plan, entry.name if forget else "")

    def _retire(
        self,
        going: list[tuple[Model, VersionEntry | None]],
        timeout: float,
        leftover: Plan | None,
        forget: str = "",
    ) -> None:
        """Stop models in the background, then clear away what they were loaded from."""

        async def retire(model: Model, found: VersionEntry | None) -> None:
            await model.stop(timeout)
            if found is not None:
                found.state, found.reason, found.model = State.UNAVAILABLE, UNLOADED, None
            log.info("successfully unloaded '%s' version %d", model.name, model.version)

        async def retire_all() -> None:
            await asyncio.gather(*(retire(model, found) for model, found in going))
            if leftover is not None:
                await self._planner.drop(leftover)
            entry = self._registry.known(forget)
            if entry is not None and not any(found.wanted for found in entry.versions.values()):
                self._registry.forget(forget)
            going.clear()
            # Requests that failed may hang on in circles, with views of the model's memory; most of the heap is frozen.
            gc.collect()

        self._in_background(retire_all())

    def _in_background(self, work: Awaitable[object]) -> None:
        task = asyncio.ensure_future(work)
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _serving(self) -> dict[str, list[Model]]:
        """Every name that serves, with the models of its versions."""
        found = {entry.name: list(entry.serving().values()) for entry in self._registry}
        return {name: models for name, models in found.items() if models}

    def _steps(self) -> dict[str, set[str]]:
        """Every model that serves, and which others its configuration calls."""
        return {
            name: set().union(*(callgraph.composing(model.config) for model in models))
            for name, models in self._serving().items()
        }

    def _steps_asked_for(self) -> set[str]:
        """Models that were loaded by request and that ensembles have steps of."""
        configs = [model.config for entry in self._registry for model in entry.serving().values()]
        return self._asked_for & set().union(*map(callgraph.composing, configs))

    def _set(self, entry: ModelEntry, versions: dict[int, VersionEntry]) -> None:
        entry.versions = versions
        self._registry.changed()

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _allow(self) -> None:
        if self._mode != "explicit":
            raise unavailable(
                "explicit model load / unload is not allowed if polling is enabled:"
                " start the server with --model-control-mode=explicit"
            )


def _going(name: str) -> ServerError:
    return unavailable(f"failed to load '{name}': the server is stopping")
