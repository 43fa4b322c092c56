"""Instances that die and come back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pyserver.instance.backoff import SECOND, Backoff
from pyserver.instance.instance import Instance
from pyserver.instance.memory import RequestMemory
from pyserver.instance.patience import LoadError
from pyserver.instance.supervisor import Supervisor
from tests.instance.conftest import Owner, ask, make_payload, make_request, make_spec


async def bring_up(supervisor: Supervisor) -> None:
    await supervisor.load()
    await supervisor.initialize()


class Quick(Backoff):
    """The same policy on a clock that ran a thousand times faster."""

    def died(self, now_ns: int) -> int:
        return super().died(now_ns) // 1000


class Watched:
    """A supervisor, and what it said of itself whenever something changed."""

    def __init__(self, memory: RequestMemory, backoff: Backoff | None = None, **config: object) -> None:
        self.seen: list[tuple[bool, bool]] = []
        self.changed = asyncio.Event()
        self.supervisor = Supervisor(
            make_spec(**config), memory, time.monotonic_ns, self._on_change, backoff=backoff or Quick()
        )

    def _on_change(self, supervisor: Supervisor) -> None:
        assert supervisor is self.supervisor
        self.seen.append((supervisor.ready, supervisor.coming))
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 20.0)


async def test_it_comes_back(memory: RequestMemory, owner: Owner) -> None:
    watched = Watched(memory)
    supervisor = watched.supervisor
    assert (supervisor.ready, supervisor.coming, supervisor.reason) == (False, False, "it is loading")
    await bring_up(supervisor)
    first = supervisor.instance
    deadly, behind = ask(owner, "kill"), make_payload(owner, make_request())
    first.execute(deadly)
    first.execute(behind)
    await owner.heard(deadly, behind)
    assert supervisor.reason.startswith("instance 'm_0_0' died: killed by SIGKILL")
    await watched.until(lambda: supervisor.ready)
    assert supervisor.instance is not first
    assert supervisor.restarts == 1
    assert watched.seen == [(True, False), (False, True), (True, False)]
    [returned] = owner.back
    supervisor.instance.execute(returned)
    await owner.heard(returned)
    await owner.until(lambda: returned in owner.timings)
    await supervisor.stop(5.0)
    assert (supervisor.ready, supervisor.coming) == (False, False)


async def test_a_crash_loop_opens_the_breaker(memory: RequestMemory) -> None:
    watched = Watched(memory)
    supervisor = watched.supervisor
    await bring_up(supervisor)
    for _ in range(4):
        os.kill(supervisor.instance.pid, signal.SIGKILL)
        await watched.until(lambda: not supervisor.ready)
        assert supervisor.coming
        await watched.until(lambda: supervisor.ready)
    os.kill(supervisor.instance.pid, signal.SIGKILL)
    await watched.until(lambda: not supervisor.ready)
    assert not supervisor.coming
    assert supervisor.reason.startswith("instance 'm_0_0' died 5 times in 60 s, at last: killed by SIGKILL")
    await watched.until(lambda: supervisor.ready)
    assert supervisor.reason == ""
    await supervisor.stop(5.0)


async def test_a_restart_that_fails_is_tried_again(memory: RequestMemory, tmp_path: Path) -> None:
    watched = Watched(memory)
    supervisor = watched.supervisor
    await bring_up(supervisor)
    good, supervisor.spec = supervisor.spec, replace(supervisor.spec, config_json=json.dumps({"initialize": "exit"}))
    os.kill(supervisor.instance.pid, signal.SIGKILL)
    await watched.until(lambda: supervisor.restarts == 2)
    assert "exited with status 3 while loading" in supervisor.reason
    assert supervisor.coming
    supervisor.spec = good
    await watched.until(lambda: supervisor.ready)
    await supervisor.stop(5.0)


async def test_stop_while_it_waits_to_restart(memory: RequestMemory) -> None:
    class Slow(Backoff):
        def died(self, now_ns: int) -> int:
            return super().died(now_ns) + 60 * SECOND

    watched = Watched(memory, Slow())
    supervisor = watched.supervisor
    await bring_up(supervisor)
    os.kill(supervisor.instance.pid, signal.SIGKILL)
    await watched.until(lambda: not supervisor.ready)
    await supervisor.stop(5.0)
    assert (supervisor.ready, supervisor.coming, supervisor.reason) == (False, False, "it is being unloaded")


async def test_stop_while_it_restarts(memory: RequestMemory) -> None:
    watched = Watched(memory)
    supervisor = watched.supervisor
    await bring_up(supervisor)
    supervisor.spec = replace(supervisor.spec, config_json=json.dumps({"load": "hang"}))
    os.kill(supervisor.instance.pid, signal.SIGKILL)
    while not (supervisor.restarts and supervisor.instance.pid):
        await asyncio.sleep(0.01)
    await supervisor.stop(5.0)
    assert supervisor.instance.gone


async def test_a_first_start_that_fails_is_not_repeated(memory: RequestMemory) -> None:
    watched = Watched(memory, load="error")
    with pytest.raises(LoadError):
        await bring_up(watched.supervisor)
    assert not watched.supervisor.coming
    assert watched.seen == []
    await watched.supervisor.stop(5.0)


async def test_the_instance_that_completed_the_configuration_stays(memory: RequestMemory) -> None:
    first = Instance(make_spec(), memory, time.monotonic_ns, lambda instance: None)
    config = await first.start(complete_config=True)
    assert config is not None
    completed = replace(make_spec(), config_json=config)
    seen = []
    supervisor = Supervisor(completed, memory, time.monotonic_ns, seen.append, first)
    await bring_up(supervisor)
    assert supervisor.instance is first
    assert first.spec.config_json == config
    assert seen == [supervisor]
    await supervisor.stop(5.0)
