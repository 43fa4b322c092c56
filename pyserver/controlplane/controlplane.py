"""What the front ends and the server ask of the repository: index, load, unload."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pyserver.controlplane import callgraph, index, overrides
from pyserver.controlplane.loads import Loads
from pyserver.controlplane.planner import Planner, in_thread
from pyserver.controlplane.polling import Polling
from pyserver.controlplane.retirement import Retirement
from pyserver.errors import unavailable
from pyserver.model.loader import Loader
from pyserver.model.registry import Registry
from pyserver.repository.repository import ModelRepository

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
        self._repository = repository
        self._mode = mode
        self._upload_limit = upload_limit
        self._asked_for: set[str] = set()
        planner = Planner(repository, loader)
        self._retirement = Retirement(registry, planner, drain)
        self._loads = Loads(registry, repository, loader, planner, self._retirement)
        self._polling = Polling(registry, repository, self._loads, self._retirement)

    def index(self, ready_only: bool = False) -> list[dict[str, str]]:
        """The repository index: one document for each version that was ever tried, or for a model never tried."""
        return index.documents(self._registry, self._repository.names, ready_only)

    async def load(self, name: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Load, or reload, a model by request: returns when it serves. ServerError says why it does not.

        `parameters` may hold `config` (JSON text), and with it `file:<path>` (bytes): the model's files, instead of
        those in the repository. What serves already from the same files, with all its instances, is left as it is.
        """
        self._allow()
        await self._loads.bring_up(name, overrides.parse(name, parameters or {}, self._upload_limit))
        self._asked_for.add(name)

    async def unload(self, name: str, unload_dependents: bool = False) -> None:
        """Stop serving a model by request; requests it has accepted finish in the background.

        With `unload_dependents` the models that it alone calls go as well, but for steps of ensembles that were
        loaded by request themselves.
        """
        self._allow()
        async with self._loads.lock(name):
            also = self._called_by(name) if unload_dependents else []
            self._unload(name)
        for each in also:
            async with self._loads.lock(each):
                self._unload(each)

    def _called_by(self, name: str) -> list[str]:
        steps = callgraph.steps(self._registry)
        return callgraph.only_called_by(name, steps, self._asked_for & set().union(*steps.values()))

    def _unload(self, name: str) -> None:
        self._asked_for.discard(name)
        entry = self._registry.known(name)
        if entry is not None:
            self._retirement.take_down(entry)

    async def start(self, names: list[str] | None) -> list[str]:
        """Load models at start, side by side: all there are (None), or `names`. Returns those that did not load."""
        if self._mode == "poll":
            await self._polling.begin()
        await in_thread(self._repository.scan)
        wanted = sorted(self._repository.names) if names is None else names
        self._asked_for.update(wanted)
        return await self._loads.bring_up_all(wanted)

    async def poll(self, seconds: float) -> None:
        """Follow what is in the repositories, with a look every `seconds`, for ever."""
        await self._polling.run(seconds)

    def cancel_loads(self) -> None:
        """Give up whatever is loading, and load nothing more: the server is going."""
        self._loads.cancel()

    async def stop(self, timeout: float) -> None:
        """Unload everything, callers before those that they call; returns when every instance has ended."""
        self._loads.cancel()
        await self._loads.over()
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        self._registry.on_change = None
        for names in callgraph.layers(callgraph.calls(self._registry)):
            for name in names:
                self._retirement.take_down(self._registry.entry(name), max(0.0, deadline - clock()))
            await self._retirement.over()
        await self._retirement.over()

    def _allow(self) -> None:
        if self._mode != "explicit":
            raise unavailable(
                "explicit model load / unload is not allowed if polling is enabled:"
                " start the server with --model-control-mode=explicit"
            )
