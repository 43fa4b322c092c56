"""One stub process, from its start to its end: an `Executor` whose payloads run in another process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

from pyserver.errors import ErrorCode, ServerError, unavailable
from pyserver.instance.console import MAX_LINE, escaped
from pyserver.instance.dispatch import Dispatcher
from pyserver.instance.link import Link
from pyserver.instance.memory import RequestMemory
from pyserver.instance.process import StubProcess
from pyserver.instance.responses import ResponseMemory
from pyserver.instance.spec import InstanceSpec
from pyserver.instance.states import Event, State, advance
from pyserver.ipc import arena, channel, messages
from pyserver.ipc.messages import MessageError, pack_json, unpack_json
from pyserver.types import Clock

log = logging.getLogger(__name__)
model_log = logging.getLogger("pyserver.model")

END_GRACE = 0.5
"""Seconds from the end of a stub's channel to the end of its process."""
TERM_GRACE = 1.0
"""Seconds from SIGTERM to SIGKILL."""
KILL_WAIT = 10.0
"""Seconds after a SIGKILL in which even a process in the middle of a system call goes."""
TRIM_SECONDS = 10.0


class LoadError(ServerError):
    """A model that did not load or initialize; `traceback` is its own, "" where there is none."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(ErrorCode.INTERNAL, message)
        self.traceback = traceback


class Instance(Dispatcher):
    """An instance that lives once: a `Supervisor` makes the next one.

    `on_change` is called when it becomes ready, when it stops being so, and when its process is gone.
    """

    def __init__(
        self,
        spec: InstanceSpec,
        requests: RequestMemory,
        clock: Clock,
        on_change: Callable[[Instance], None],
    ) -> None:
        super().__init__(spec.name, spec.model_name, spec.version, requests, spec.ahead)
        self.spec = spec
        self.state = State.SPAWNED
        self.reason = ""
        self.on_change = on_change
        self._clock = clock
        self._process: StubProcess | None = None
        self._awaited = 0  # the kind of the cold record that comes next, and who waits for it
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._verdict = ""
        self._finalizing = False
        self._end_timer: asyncio.TimerHandle | None = None
        self._trim_timer: asyncio.TimerHandle | None = None

    @property
    def ready(self) -> bool:
        """Whether it executes what it is given."""
        return self.state is State.READY and self._accepting

    @property
    def gone(self) -> bool:
        """Whether its process has been, and is reaped."""
        return self._gone.done()

    @property
    def pid(self) -> int:
        """The stub's process id; 0 before it is started."""
        return self._process.pid if self._process else 0

    async def start(self, complete_config: bool = False, timeout: float | None = None) -> str | None:
        """Start the process and import the model; its completed configuration (JSON) if it was asked for and has one.

        LoadError, with nothing left behind, if the model does not load, or says nothing for `timeout` seconds.
        """
        try:
            self._start()
            hello = await self._answer_of(messages.HELLO, timeout)
            if hello.get("version") != messages.VERSION:
                raise LoadError(f"'{self.name}' speaks version {hello.get('version')}, expected {messages.VERSION}")
            log.info("%s: process %d, Python %s", self.name, self.pid, escaped(str(hello.get("python"))[:40]))
            self._link.send(pack_json(messages.LOAD, self.spec.load_fields(complete_config)))
            config = (await self._answer_of(messages.LOADED, timeout)).get("config")
        except BaseException as error:
            await self._give_up(error)
            raise
        return json.dumps(config) if config is not None else None

    async def initialize(self, timeout: float | None = None) -> None:
        """Let the model initialize, with the configuration in `spec`; LoadError, with nothing left, if it fails."""
        try:
            self._link.send(pack_json(messages.INITIALIZE, dict(self.spec.initialize_args())))
            await self._answer_of(messages.INITIALIZED, timeout)
        except BaseException as error:
            await self._give_up(error)
            raise
        self._accepting = True
        self._trim()
        self._advance(Event.INITIALIZED)

    async def stop(self, timeout: float) -> None:
        """Let it finish what it has and finalize within `timeout` seconds; then SIGTERM, then SIGKILL.

        One that has not initialized has nothing to finish, and is killed.
        """
        process = self._process
        if process is None or self._gone.done():
            return
        if self.state is State.READY:
            self._link.send(messages.record(messages.FINALIZE, b""))
            self._finalizing = True
        self._accepting = False
        self._advance(Event.STOP)
        if self._finalizing:
            if await self._is_gone(timeout):
                return
            self._verdict = f"it did not end within {timeout:g} s"
            log.warning("%s: %s and is killed", self.name, self._verdict)
            process.signal_group(signal.SIGTERM)
            if await self._is_gone(TERM_GRACE):
                return
        process.signal_group(signal.SIGKILL)
        if not await self._is_gone(KILL_WAIT):
            log.error("%s: process %d does not end, not even by SIGKILL", self.name, process.pid)

    def _start(self) -> None:
        spec = self.spec
        here, there = channel.pair()
        fd = arena.create(f"pyserver-responses-{spec.name[:128]}")
        try:
            self._responses = ResponseMemory(fd)
            fds = (there.fileno(), self._requests.fileno(), fd)
            self._process = StubProcess(spec, fds, self._clock, self._on_exit)
        except OSError as error:
            here.close()
            raise LoadError(f"'{spec.name}' can't be started with {spec.interpreter}: {error}") from error
        finally:
            there.close()
            os.close(fd)
        self._link = Link(here, self._on_records, self._on_broken, self._on_end)
        self._advance(Event.LOAD)

    async def _answer_of(self, kind: int, timeout: float | None) -> dict[str, Any]:
        """The next cold record, which must be of `kind` and without an error."""
        if self._gone.done():
            raise LoadError(self._unhealthy())
        self._awaited = kind
        self._answer = self._loop.create_future()
        try:
            said = await asyncio.wait_for(self._answer, timeout)
        except asyncio.TimeoutError:
            raise LoadError(f"Stub process '{self.name}' said nothing for {timeout:g} s while loading") from None
        finally:
            self._awaited = 0
            self._answer = None
        if "error" in said:
            raise LoadError(str(said["error"]), str(said.get("traceback", "")))
        return said

    def _on_cold(self, kind: int, body: bytes) -> None:
        if kind == messages.LOG:
            self._on_log(unpack_json(body))
        elif kind == self._awaited and self._answer is not None and not self._answer.done():
            self._answer.set_result(unpack_json(body))
            self._awaited = 0
        elif kind == messages.FINALIZED and self._finalizing:
            if "error" in (said := unpack_json(body)):
                log.error("%s: finalize failed: %s", self.name, said.get("traceback") or said["error"])
        else:
            raise MessageError(f"a record of kind {kind} out of turn")

    def _on_log(self, said: dict[str, Any]) -> None:
        level, message = said.get("level"), said.get("message")
        if not isinstance(level, int) or not isinstance(message, str):
            raise MessageError("a log record without level or message")
        if self._process is None or not self._process.console.admits():
            return
        extra = {"model": self.spec.model_name, "version": str(self.spec.version), "instance": self.name}
        where = f"{said.get('file', '')}:{said.get('line', 0)}"
        model_log.log(level, "%s: %s: %s", self.name, escaped(where), escaped(message[:MAX_LINE]), extra=extra)

    # Ends: the model failed, the stub talks nonsense, its channel or its process is gone.

    async def _give_up(self, error: BaseException) -> None:
        self._condemn(str(error) or "its start was cancelled")
        if self._process is not None:
            await self._is_gone(KILL_WAIT)

    def _on_broken(self, why: str) -> None:
        self._condemn(f"it sent what is no message: {why}")

    def _condemn(self, verdict: str) -> None:
        """Kill it; `verdict` says why."""
        self._accepting = False
        if self._process is None:
            self.state = State.FAILED
            self.reason = verdict
        elif not self._gone.done():
            self._verdict = self._verdict or verdict
            self._link.stop_reading()
            self._process.signal_group(signal.SIGKILL)
            self._advance(Event.FAIL)

    def _on_end(self) -> None:
        """Its end of the channel is closed: it is dying, or has no way left to be of use."""
        self._accepting = False
        process = self._process
        if process is not None and process.alive:
            self._end_timer = self._loop.call_later(END_GRACE, self._condemn, "it closed its channel")

    def _on_exit(self) -> None:
        self._accepting = False
        for timer in (self._end_timer, self._trim_timer):
            if timer is not None:
                timer.cancel()
        self._link.drain()
        self._link.close()
        begun = self._responses.begun
        self._responses.close()
        self.reason = self._autopsy(begun)
        self._gone.set_result(None)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LoadError(self._unhealthy()))
        self._advance(Event.EXIT)
        self._abandon(unavailable(self._unhealthy()), begun)

    def _unhealthy(self) -> str:
        return f"Stub process '{self.name}' is not healthy: {self.reason}"

    def _autopsy(self, begun: int) -> str:
        """What it died of, when, and its last words."""
        process = self._process
        assert process is not None
        cause = f"killed by the server: {self._verdict}" if self._verdict else process.outcome()
        if self.state in (State.SPAWNED, State.LOADING):
            cause += " while loading"
        elif any(number <= begun and not flight.executed for number, flight in self._flights.items()):
            cause += " while executing"
        lines = process.console.last_lines()
        return "\n  ".join([f"{cause}; last lines on stderr:", *lines]) if lines else cause

    async def _is_gone(self, timeout: float) -> bool:
        await asyncio.wait((self._gone,), timeout=timeout)
        return self._gone.done()

    def _advance(self, event: Event) -> None:
        before, self.state = self.state, advance(self.state, event)
        if event is Event.EXIT or (before is State.READY) != (self.state is State.READY):
            self.on_change(self)

    def _trim(self) -> None:
        self._requests.trim(self._clock())
        self._trim_timer = self._loop.call_later(TRIM_SECONDS, self._trim)
