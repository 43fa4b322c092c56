"""What the front ends and the server ask of the repository: index, load, unload. One change to a model at a time."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Mapping
from typing import Any

from pyserver.errors import ErrorCode, ServerError, invalid, unavailable, unsupported
from pyserver.model.ensemble.links import Links
from pyserver.model.ensemble.order import LoadOrder
from pyserver.model.ensemble.plan import composing
from pyserver.model.loader import Loader
from pyserver.model.model import Model
from pyserver.model.registry import ModelEntry, Registry, State, VersionEntry
from pyserver.repository.repository import ModelRepository

log = logging.getLogger(__name__)


class ControlPlane:
    """Loads and unloads models. A failing load leaves what served before; one model's trouble is no other's."""

    def __init__(
        self, registry: Registry, repository: ModelRepository, loader: Loader, explicit: bool, drain: float
    ) -> None:
        self._registry = registry
        self._links = Links(registry)
        self._order = LoadOrder()
        self._starting: frozenset[str] = frozenset()
        self._asked_for: set[str] = set()
        self._repository = repository
        self._loader = loader
        self._explicit = explicit
        self._drain = drain
        self._locks: dict[str, asyncio.Lock] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def index(self, ready_only: bool = False) -> list[dict[str, str]]:
        """The repository index: one document for each version that was ever tried, or for a model never tried."""
        documents: list[dict[str, str]] = []
        seen = set()
        for entry in sorted(self._registry, key=lambda entry: entry.name):
            seen.add(entry.name)
            for number, found in sorted(entry.versions.items()):
                documents.append(_document(entry.name, number, found))
        documents += [{"name": name} for name in sorted(self._repository.names - seen)]
        if ready_only:
            documents = [document for document in documents if document.get("state") == "READY"]
        return documents

    async def load(self, name: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Load, or reload, a model by request: returns when it serves. ServerError says why it does not."""
        self._allow()
        await self.bring_up(name, _override(parameters or {}))
        self._asked_for.add(name)

    async def unload(self, name: str, unload_dependents: bool = False) -> None:
        """Stop serving a model by request; requests it has accepted finish in the background.

        `unload_dependents`: also the models of an ensemble's steps that were loaded for its sake, and that no other
        ensemble uses.
        """
        self._allow()
        self._asked_for.discard(name)
        async with self._lock(name):
            entry = self._registry.known(name)
            if entry is None:
                return
            steps = {step for model in entry.serving().values() for step in composing(model.config)}
            self._take_down(entry)
        for step in sorted(steps if unload_dependents else ()):
            if step not in self._asked_for and not self._links.users(step):
                await self.unload(step, unload_dependents)

    async def start(self, names: list[str] | None) -> list[str]:
        """Load models at start, side by side: all there are (None), or `names`. Returns those that did not load."""
        await self._scan()
        wanted = sorted(self._repository.names) if names is None else names
        self._starting = frozenset(wanted)
        self._asked_for.update(wanted)
        results = await asyncio.gather(*(self.bring_up(name) for name in wanted), return_exceptions=True)
        self._starting = frozenset()
        failed = []
        for name, result in zip(wanted, results, strict=True):
            if isinstance(result, BaseException):
                failed.append(name)
                log.error("failed to load '%s': %s", name, _said(result))
        return failed

    async def stop(self, timeout: float) -> None:
        """Unload everything; returns when every instance has ended."""
        self._registry.on_change = None
        for entry in list(self._registry):
            self._take_down(entry, timeout)
        await asyncio.gather(*self._retiring)

    async def bring_up(self, name: str, override: str | None = None) -> None:
        """Make the versions that the policy selects serve, then let go of those that served before."""
        async with self._lock(name):
            await self._scan()
            folder = self._repository.find(name)
            entry = self._registry.entry(name)
            serving = entry.serving()
            if not serving:
                self._set(entry, {0: VersionEntry(State.LOADING)})
            try:
                plan = await self._loader.plan(folder, override)
                if not serving:
                    self._set(entry, {number: VersionEntry(State.LOADING) for number in plan.versions})
                await self._bring_up_steps(name, composing(plan.config))
                models = await self._loader.start(plan)
                self._links.link_all(models)
            except ServerError as error:
                if not serving:
                    numbers = [number for number in entry.versions if number] or [0]
                    self._set(entry, {number: VersionEntry(State.UNAVAILABLE, _reason(error)) for number in numbers})
                raise _load_failed(name, error, entry) from error
            self._set(entry, {model.version: VersionEntry(State.READY, "", model) for model in models})
            for old in serving.values():
                self._retire(old, self._drain)
            log.info("successfully loaded '%s'", name)

    async def _bring_up_steps(self, name: str, steps: list[str]) -> None:
        """Have the models of an ensemble's steps serve before it does; `Links` tells of those that do not."""
        with self._order.waits(name, steps):
            await asyncio.gather(*(self._bring_up_step(step) for step in steps))

    async def _bring_up_step(self, name: str) -> None:
        async with self._lock(name):
            entry = self._registry.known(name)
        if name in self._starting or name not in self._repository.names or (entry is not None and entry.serving()):
            return
        try:
            await self.bring_up(name)
        except ServerError as error:
            log.error("failed to load '%s': %s", name, error.message)

    def _take_down(self, entry: ModelEntry, timeout: float | None = None) -> None:
        for model in entry.serving().values():
            found = entry.versions[model.version]
            found.state, found.reason = State.UNLOADING, ""
            self._retire(model, self._drain if timeout is None else timeout, found)
        for found in entry.versions.values():
            if found.state is State.UNAVAILABLE:
                found.reason, found.model = "unloaded", None
        self._registry.changed()

    def _retire(self, model: Model, timeout: float, found: VersionEntry | None = None) -> None:
        async def retire() -> None:
            await model.stop(timeout)
            if found is not None:
                found.state, found.reason, found.model = State.UNAVAILABLE, "unloaded", None
            log.info("successfully unloaded '%s' version %d", model.name, model.version)

        task = asyncio.get_running_loop().create_task(retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _set(self, entry: ModelEntry, versions: dict[int, VersionEntry]) -> None:
        entry.versions = versions
        self._registry.changed()

    async def _scan(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._repository.scan)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _allow(self) -> None:
        if not self._explicit:
            raise unavailable(
                "explicit model load / unload is not allowed if polling is enabled:"
                " start the server with --model-control-mode=explicit"
            )


def _override(parameters: Mapping[str, Any]) -> str | None:
    """The configuration (JSON) that a load request brings along."""
    for key in parameters:
        if key.startswith("file:"):
            raise unsupported("load parameters 'file:<path>' are not supported yet: put the files into a repository")
        if key != "config":
            raise invalid(f"unrecognized load parameter '{key}', expected 'config'")
    return parameters.get("config")


def _document(name: str, number: int, found: VersionEntry) -> dict[str, str]:
    document = {
        "name": name,
        "version": str(number) if number else "",
        "state": found.state.value,
        "reason": found.reason,
    }
    return {key: value for key, value in document.items() if value}


def _reason(error: ServerError) -> str:
    """The index's reason: the code in words, then the message (Triton's form)."""
    words = (
        "Invalid argument" if error.code is ErrorCode.INVALID_ARG else error.code.name.replace("_", " ").capitalize()
    )
    return f"{words}: {error.message}"


def _load_failed(name: str, error: ServerError, entry: ModelEntry) -> ServerError:
    numbers = [number for number in sorted(entry.versions) if number]
    if not numbers:
        return ServerError(error.code, f"failed to load '{name}': {error.message}")
    states = "".join(f"version {number} is at UNAVAILABLE state: {_reason(error)};" for number in numbers)
    return invalid(f"load failed for model '{name}': {states}")


def _said(error: BaseException) -> str:
    if isinstance(error, ServerError):
        return error.message
    return "".join(traceback.format_exception(error))
