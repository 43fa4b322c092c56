"""The event loop of a model's coroutines, in the stub's main thread: it turns while one is executed or waits."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Coroutine, Set


class Runner:
    """Begins coroutines; those that wait for something go on while the stub waits for its next message."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._readable = False
        self.tasks: Set[asyncio.Task[Any]] = set()

    def finish(self, result: Any) -> Any:
        """The result of a coroutine; anything else is a result itself."""
        if not hasattr(result, "__await__"):
            return result

        async def whole() -> Any:
            return await result

        return self._loop.run_until_complete(whole())

    def begin(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> bool:
        """Run a coroutine up to where it first waits. `done` gets its task when it has ended, which may be now.

        Whether it has.
        """
        loop = self._loop
        task = loop.create_task(coroutine)
        loop.call_soon(loop.stop)
        loop.run_forever()
        if task.done():
            done(task)
            return True
        self.tasks.add(task)
        task.add_done_callback(lambda task: self._ended(task, done))
        return False

    def _ended(self, task: Any, done: Callable[[Any], None]) -> None:
        self.tasks.discard(task)
        try:
            done(task)
        finally:
            self._loop.stop()

    @property
    def waiting(self) -> bool:
        """Whether there is anything to go on with: a request, or a task of the model's own."""
        return bool(self.tasks) or bool(asyncio.all_tasks(self._loop))

    def wait(self, fd: int) -> bool:
        """Go on until `fd` can be read, or a task has ended; whether the former."""
        self._readable = False
        self._loop.add_reader(fd, self._on_readable)
        try:
            self._loop.run_forever()
        finally:
            self._loop.remove_reader(fd)
        return self._readable

    def _on_readable(self) -> None:
        self._readable = True
        self._loop.stop()

    def drain(self) -> None:
        """Go on until all that was begun has ended."""
        while self.tasks:
            self._loop.run_until_complete(asyncio.wait(set(self.tasks)))
            self._loop.run_until_complete(asyncio.sleep(0))

    def close(self) -> None:
        """End what the model has left running."""
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
