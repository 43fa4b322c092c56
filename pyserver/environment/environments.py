"""What the server asks for environments: each is prepared once, in a process of its own, whoever waits for it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyserver.environment import content, variables, worker
from pyserver.environment.cache import Cache
from pyserver.environment.interpreter import Facts
from pyserver.environment.progress import Progress, Report
from pyserver.environment.source import Origin, Source
from pyserver.environment.working import Worker
from pyserver.errors import ErrorCode, ServerError, internal

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that is ready: its interpreter, and all the environment variables for a process that it runs."""

    facts: Facts
    variables: dict[str, str]

    @property
    def interpreter(self) -> str:
        """The interpreter's path."""
        return self.facts.interpreter


class Environments:
    """The environments of one server, on the running loop. An entry that it has used stays locked until it ends."""

    def __init__(self, root: Path, most: int) -> None:
        """`root` is the cache's folder; `most` environments are prepared at a time."""
        self._root = root
        self._slots = asyncio.Semaphore(most)
        self._cache: Cache | None = None
        self._locks: dict[str, int] = {}
        self._tasks: dict[Source, asyncio.Task[Facts]] = {}
        self._waiters: dict[Source, list[Report]] = {}
        self._checked: dict[Source, tuple[str, Facts]] = {}
        self._activations: dict[str, variables.Changes] = {}
        self._ending: set[asyncio.Task[str]] = set()

    async def get(self, source: Source, report: Report) -> Environment:
        """The environment of `source`, ready to be used; ServerError if it can't be.

        `report` hears of the progress. Cancelled, it ends the preparation unless somebody else waits for it too.
        """
        facts = await in_thread(self._found, source)
        if facts is None:
            facts = await self._prepared(source, report)
        return await in_thread(self._environment, facts)

    async def _prepared(self, source: Source, report: Report) -> Facts:
        """Wait for the one preparation of `source`."""
        waiters = self._waiters.setdefault(source, [])
        waiters.append(report)
        task = self._tasks.get(source)
        if task is None:
            task = self._tasks[source] = asyncio.get_running_loop().create_task(self._prepare(source))
        try:
            return await asyncio.shield(task)
        finally:
            waiters.remove(report)
            if not waiters:
                task.cancel()
                self._waiters.pop(source, None)
                self._tasks.pop(source, None)

    async def _prepare(self, source: Source) -> Facts:
        log.info("%s: preparing", source)
        async with self._slots:
            said = await self._work(source)
        if "error" in said:
            raise ServerError(ErrorCode(said["code"]), said["error"])
        facts = Facts(said["interpreter"], said["version"], said["platform"], said["numpy"])
        if said["key"]:
            await in_thread(self._hold, said["key"])
        else:
            self._checked[source] = (content.identity(Path(facts.interpreter)), facts)
        log.info("%s: ready, %s", source, facts)
        return facts

    async def _work(self, source: Source) -> dict[str, Any]:
        """What a worker process says at last; killed with all that it runs if this is cancelled."""
        working = Worker(worker.order(self._root, source))
        try:
            async with aclosing(working.lines()) as lines:
                async for said in lines:
                    if "step" not in said:
                        return said
                    progress = Progress(said["step"], said["done"], said["total"])
                    for report in self._waiters.get(source, ()):
                        report(progress)
        except BaseException:
            working.kill()
            raise
        finally:
            task = asyncio.get_running_loop().create_task(working.ended())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        raise internal(f"{source}: the process that prepares it ended with {await working.ended()}")

    # In worker threads.

    def _found(self, source: Source) -> Facts | None:
        """The facts of an environment that is ready."""
        if source in self._checked:
            state, facts = self._checked[source]
            current = os.path.exists(facts.interpreter) and content.identity(Path(facts.interpreter)) == state
            return facts if current else None
        if source.origin is not Origin.ARCHIVE or (self._cache is None and not self._root.exists()):
            return None
        key = content.remembered(self._opened(), source.path)
        return self._hold(key) if key else None

    def _hold(self, key: str) -> Facts | None:
        used = self._opened().use(key)
        if used is None:
            return None
        record, fd = used
        before = self._locks.get(key)
        self._locks[key] = fd  # another one, if the cache was removed by hand since
        if before is not None:
            os.close(before)
        return record.facts

    def _opened(self) -> Cache:
        if self._cache is None:
            self._cache = Cache(self._root)
        return self._cache

    def _environment(self, facts: Facts) -> Environment:
        folder = Path(facts.interpreter).parent.parent
        around = variables.of_environment(folder, os.environ)
        if facts.interpreter not in self._activations:
            self._activations[facts.interpreter] = variables.activation(folder, around)
        return Environment(facts, variables.changed(around, self._activations[facts.interpreter]))


async def in_thread(call: Callable[..., T], *arguments: Any) -> T:
    """What `call` returns, in a worker thread."""
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)
