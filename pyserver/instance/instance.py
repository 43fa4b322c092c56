"""One stub process, from its start to its end: an `Executor` whose payloads run in another process."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from pyserver.errors import ErrorCode, ServerError, unavailable
from pyserver.instance.calls import Calls, NoServices, Responses, Services
from pyserver.instance.console import MAX_LINE, MAX_MARK, escaped, label
from pyserver.instance.dispatch import Dispatcher
from pyserver.instance.forkserver import ForkServers
from pyserver.instance.link import Link
from pyserver.instance.memory import RequestMemory
from pyserver.instance.process import StubProcess, bear
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
LOOKS = 10
"""So many looks in a row that find no sign of life are a silence. Not the clock: a machine that was frozen for an hour
showed none of its own."""


WarmUp: TypeAlias = Callable[["Instance"], Awaitable[None]]
"""What lets an instance run its first payloads, before it is ready."""


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
        services: Services | None = None,
        fork_servers: ForkServers | None = None,
    ) -> None:
        super().__init__(spec.name, spec.model_name, spec.version, requests, spec.ahead)
        self.spec = spec
        self.state = State.SPAWNED
        self.reason = ""
        self.on_change = on_change
        self.calls: Calls | None = None
        self._services = services
        self._fork_servers = fork_servers
        self._has_probe = False
        self._clock = clock
        self._process: StubProcess | None = None
        self._awaited = 0  # the kind of the cold record that comes next, and who waits for it
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._verdict = ""
        self._load_deadline = math.inf
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

    async def probe(self) -> bool:
        """Whether it is ready, by its model's own words if it has any."""
        if not self.ready or self.calls is None or not self._has_probe:
            return self.ready
        return await self.calls.probe()

    def numbers(self, offset: int, count: int) -> Any:
        """Numbers (64-bit floats) in its memory that its stub writes at any time."""
        return self._responses.numbers(offset, count)

    def waits_for(self) -> list[Responses]:
        """The calls without whose answers it does nothing."""
        return [] if self.calls is None else self.calls.blocking

    async def start(self, complete_config: bool = False, timeout: float | None = None) -> str | None:
        """Start the process and import the model; its completed configuration (JSON) if it was asked for and has one.

        LoadError, with nothing left behind, if the model does not load, or shows no sign of life for `timeout` seconds
        (None: as its spec says).
        """
        try:
            await self._start()
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

    async def initialize(self, timeout: float | None = None, warm_up: WarmUp | None = None) -> None:
        """Let the model initialize, with the configuration in `spec`, and warm up.

        LoadError, or what `warm_up` raises, with nothing left, if that fails.
        """
        try:
            self._link.send(pack_json(messages.INITIALIZE, dict(self.spec.initialize_args())))
            said = await self._answer_of(messages.INITIALIZED, timeout)
            self._has_probe = said.get("is_ready") is True
            self._accepting = True
            if warm_up is not None:
                await warm_up(self)
        except BaseException as error:
            await self._give_up(error)
            raise
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
            process.terminate()
            if await self._is_gone(TERM_GRACE):
                return
        process.kill()
        if not await self._is_gone(KILL_WAIT):
            log.error("%s: process %d does not end, not even by SIGKILL", self.name, process.pid)

    async def _start(self) -> None:
        spec = self.spec
        here, there = channel.pair()
        asked, asking = channel.pair()
        fd = arena.create(f"pyserver-responses-{spec.name[:128]}")
        try:
            self._responses = ResponseMemory(fd)
            fds = (there.fileno(), self._requests.fileno(), fd, asking.fileno())
            born = await bear(spec, fds, self._fork_servers)
            self._process = StubProcess(born, spec, self._clock, self._on_exit)
        except BaseException as error:
            here.close()
            asked.close()
            if isinstance(error, OSError):
                raise LoadError(f"'{spec.name}' can't be started with {spec.interpreter}: {error}") from error
            raise
        finally:
            there.close()
            asking.close()
            os.close(fd)
        self._link = Link(here, self._on_records, self.on_nonsense, self._on_end)
        self.calls = Calls(asked, self, self._requests, self._responses, self._services or NoServices())
        if spec.load_limit:
            self._load_deadline = self._loop.time() + spec.load_limit
        self._advance(Event.LOAD)

    async def _answer_of(self, kind: int, timeout: float | None) -> dict[str, Any]:
        """The next cold record, which must be of `kind` and without an error."""
        if self._gone.done():
            raise LoadError(self._unhealthy())
        self._awaited = kind
        self._answer = self._loop.create_future()
        try:
            said = await self._patiently(self._answer, self.spec.silence if timeout is None else timeout)
        finally:
            self._awaited = 0
            self._answer = None
        if "error" in said:
            raise LoadError(str(said["error"]), str(said.get("traceback", "")))
        return said

    async def _patiently(self, answer: asyncio.Future[dict[str, Any]], silence: float) -> dict[str, Any]:
        """The answer, unless there is no sign of life for `silence` seconds, or loading takes longer than it may."""
        unheard, beat = 0, self._responses.heartbeat
        while True:
            left = self._load_deadline - self._loop.time()
            step = min(silence / LOOKS or left, left)
            await asyncio.wait((answer,), timeout=None if step == math.inf else max(0.0, step))
            if answer.done():
                return answer.result()
            if self._load_deadline <= self._loop.time():
                raise LoadError(f"Stub process '{self.name}' did not load within {self.spec.load_limit:g} s")
            before, beat = beat, self._responses.heartbeat
            unheard = unheard + 1 if beat == before else 0
            if unheard >= LOOKS:
                raise LoadError(f"Stub process '{self.name}' said nothing for {silence:g} s while loading")

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
        requests = escaped(str(said.get("requests", ""))[:MAX_MARK])
        labels = {"model": self.spec.model_name, "version": str(self.spec.version), "instance": self.name}
        where = escaped(f"{said.get('file', '')}:{said.get('line', 0)}")
        extra = {**labels, "requests": requests}
        model_log.log(level, "%s: %s: %s", label(labels, requests), where, escaped(message[:MAX_LINE]), extra=extra)

    # Ends: the model failed, the stub talks nonsense, its channel or its process is gone.

    async def _give_up(self, error: BaseException) -> None:
        self._condemn(str(error) or "its start was cancelled")
        if self._process is not None:
            await self._is_gone(KILL_WAIT)

    def on_nonsense(self, why: str) -> None:
        """It said what no stub says: kill it."""
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
            self._process.kill()
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
        if self.calls is not None:
            self.calls.close()
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
