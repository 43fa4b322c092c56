"""The event loop of a model's coroutines, in the stub's main thread: it turns while one is executed or waits."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any, Callable, Coroutine, Set

_set_running = asyncio._set_running_loop  # type: ignore[attr-defined,unused-ignore]


class Runner:
    """Begins coroutines; those that wait for something go on while the stub waits for its next message."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._readable = False
        self.tasks: Set[asyncio.Task[Any]] = set()
        # What asyncio's own loop is to do next; other loops (a model may choose one) show no such thing.
        self._ready: Any = getattr(self._loop, "_ready", None)
        self._thread = threading.get_ident()
        self._shared = True  # whether there may be other tasks than those begun here
        if self._ready is not None:
            hooks: Any = self._loop
            sys.set_asyncgen_hooks(hooks._asyncgen_firstiter_hook, hooks._asyncgen_finalizer_hook)

    def finish(self, result: Any) -> Any:
        """The result of a coroutine; anything else is a result itself."""
        if not hasattr(result, "__await__"):
            return result
        self._shared = True

        async def whole() -> Any:
            return await result

        return self._loop.run_until_complete(whole())

    def begin(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> bool:
        """Run a coroutine up to where it first waits. `done` gets its task when it has ended, which may be now.

        Whether it has.
        """
        if self._ready is None or self._ready or self._shared or self._loop.get_task_factory() is not None:
            task = self._turned(coroutine)
        else:
            task = self._stepped(coroutine)
        if task.done():
            done(task)
            return True
        self.tasks.add(task)
        task.add_done_callback(lambda task: self._ended(task, done))
        return False

    def _turned(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task after one turn of the loop: whatever else is ready goes on as well."""
        self._shared = True
        loop = self._loop
        task = loop.create_task(coroutine)
        loop.call_soon(loop.stop)
        loop.run_forever()
        return task

    def _stepped(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task after its first step, which is all that a turn of the loop would do; it costs a third of one."""
        loop: Any = self._loop
        task = asyncio.Task(coroutine, loop=loop)
        step = self._ready.pop()
        loop._thread_id = self._thread
        _set_running(loop)
        try:
            step._run()
        finally:
            _set_running(None)
            loop._thread_id = None
            if self._ready or not task.done():
                self._shared = True
        return task

    def _ended(self, task: Any, done: Callable[[Any], None]) -> None:
        self.tasks.discard(task)
        try:
            done(task)
        finally:
            self._loop.stop()

    @property
    def waiting(self) -> bool:
        """Whether there is anything to go on with: a request, or a task of the model's own."""
        if self._shared:
            self._shared = bool(self.tasks) or bool(asyncio.all_tasks(self._loop))
        return self._shared

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
            self._loop.run_forever()  # up to the end of one of them

    def close(self) -> None:
        """End what the model has left running."""
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
