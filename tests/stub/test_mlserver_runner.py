"""Coroutines of MLServer models, begun between two messages of the server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from pyserver.stub.mlserver.runner import Runner


@pytest.fixture
def runner() -> Iterator[Runner]:
    """One that nothing else runs on, as when a model has loaded."""
    hooks = sys.get_asyncgen_hooks()
    made = Runner()
    assert not made.waiting
    yield made
    made.close()
    asyncio.set_event_loop(None)
    sys.set_asyncgen_hooks(*hooks)


def result(runner: Runner, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Begin it and go on until it has ended."""
    ended: list[Any] = []
    if not runner.begin(coroutine, ended.append):
        runner.drain()
    (task,) = ended
    return task.result()


async def _where() -> tuple[Any, ...]:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    return loop, loop.is_running(), task.done(), asyncio.all_tasks() == {task}


def test_what_never_waits_runs_in_a_task_on_the_loop(runner: Runner) -> None:
    loop, running, done, alone = result(runner, _where())
    assert (running, done, alone) == (True, False, True)
    assert not loop.is_running()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    assert not runner.waiting


def test_an_error_is_the_tasks(runner: Runner) -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        result(runner, fail())
    assert not runner.waiting


def test_what_waits_goes_on(runner: Runner) -> None:
    async def wait() -> str:
        await asyncio.wait_for(asyncio.sleep(0), 5)
        return "done"

    assert result(runner, wait()) == "done"
    assert not runner.waiting


def test_a_task_of_the_models_own_is_waited_for(runner: Runner) -> None:
    seen = []

    async def other() -> None:
        seen.append("begun")
        await asyncio.sleep(0)
        seen.append("ended")

    async def begin() -> Any:
        return asyncio.ensure_future(other())

    task = result(runner, begin())
    assert runner.waiting
    assert result(runner, _where())[0] is not None  # a turn of the loop
    assert seen[:1] == ["begun"]
    runner.finish(asyncio.wait({task}))
    assert seen == ["begun", "ended"]
    assert not runner.waiting


def test_the_models_own_kind_of_tasks(runner: Runner) -> None:
    class Own(asyncio.Task):  # type: ignore[type-arg]
        pass

    async def choose() -> None:
        asyncio.get_running_loop().set_task_factory(lambda loop, coro, **more: Own(coro, loop=loop, **more))

    async def kind() -> Any:
        return type(asyncio.current_task())

    result(runner, choose())
    assert result(runner, kind()) is Own


def test_an_async_generator_that_is_left_is_closed(runner: Runner) -> None:
    closed = []

    async def numbers() -> Any:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def first() -> Any:
        async for number in numbers():
            return number

    assert result(runner, first()) == 1
    runner.finish(asyncio.sleep(0.01))
    assert closed == [True]
