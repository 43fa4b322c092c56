"""One stub process, from its start to its end: an `Executor` whose payloads run in another process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from pyserver.errors import unavailable
from pyserver.instance.birth import Wires, bear
from pyserver.instance.calls import Calls
from pyserver.instance.console import escaped
from pyserver.instance.dispatch import Dispatcher
from pyserver.instance.end import KILL_WAIT, End
from pyserver.instance.execution_limit import ExecutionLimit
from pyserver.instance.forkserver import ForkServers
from pyserver.instance.interview import Interview
from pyserver.instance.link import Link
from pyserver.instance.memory import RequestMemory
from pyserver.instance.model_log import write
from pyserver.instance.patience import LoadError
from pyserver.instance.process import StubProcess
from pyserver.instance.responses import ResponseMemory
from pyserver.instance.services import NoServices, Responses, Services
from pyserver.instance.spec import EXECUTION_LIMIT_PARAMETER, InstanceSpec
from pyserver.instance.states import Event, State, advance
from pyserver.ipc import messages
from pyserver.ipc.messages import MessageError, pack_json, unpack_json
from pyserver.payload import Pending
from pyserver.types import Clock

log = logging.getLogger(__name__)

TRIM_SECONDS = 10.0

WarmUp: TypeAlias = Callable[["Instance"], Awaitable[None]]
"""What lets an instance run its first payloads, before it is ready."""


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
        self.python = ""
        self.calls: Calls | None = None
        self._services: Services = services or NoServices()
        self._limit: ExecutionLimit | None = None
        self.metadata: dict[str, Any] = {}
        self.handlers: list[dict[str, str]] = []
        self._fork_servers = fork_servers
        self._has_probe = False
        self._clock = clock
        self._process: StubProcess | None = None
        self._interview: Interview
        self._end = End(spec.name)
        self._finalizing = False
        self._trim_timer: asyncio.TimerHandle | None = None

    @property
    def ready(self) -> bool:
        """Whether it executes what it is given."""
        return self.state is State.READY and self._accepting

    @property
    def gone(self) -> bool:
        """Whether its process has been, and is reaped."""
        return self._end.come

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

    def cancel(self, pending: Pending) -> None:
        """Let the running model see that nobody waits for `pending`, and drop what it has others do for it alone."""
        super().cancel(pending)
        if self.calls is not None:
            self.calls.abandoned()

    async def start(self, complete_config: bool = False, timeout: float | None = None) -> str | None:
        """Start the process and import the model; its completed configuration (JSON) if it was asked for and has one.

        LoadError, with nothing left behind, if the model does not load, or shows no sign of life for `timeout` seconds
        (None: as its spec says).
        """
        try:
            await self._start()
            hello = await self._interview.answer(messages.HELLO, timeout)
            if hello.get("version") != messages.VERSION:
                raise LoadError(f"'{self.name}' speaks version {hello.get('version')}, expected {messages.VERSION}")
            self.python = escaped(str(hello.get("python"))[:40])
            log.info("%s: process %d, Python %s", self.name, self.pid, self.python)
            self._tell_levels()
            self._services.log_levels.tell(self._tell_levels)
            self._link.send(pack_json(messages.LOAD, self.spec.load_fields(complete_config)))
            config = (await self._interview.answer(messages.LOADED, timeout)).get("config")
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
            said = await self._interview.answer(messages.INITIALIZED, timeout)
            self._has_probe = said.get("is_ready") is True
            self.metadata = said.get("metadata") or {}
            self.handlers = said.get("handlers") or []
            self._accepting = True
            if warm_up is not None:
                await warm_up(self)
        except BaseException as error:
            await self._give_up(error)
            raise
        self._trim()
        if self.spec.execution_limit:
            self._limit = ExecutionLimit(self.spec.execution_limit, self._executing, self._warn, self._too_long)
            self._limit.start()
        self._advance(Event.INITIALIZED)

    async def stop(self, timeout: float) -> None:
        """Let it finish what it has and finalize within `timeout` seconds; then SIGTERM, then SIGKILL.

        One that has not initialized has nothing to finish, and is killed.
        """
        process = self._process
        if process is None or self._end.come:
            return
        if self.state is State.READY:
            self._link.send(messages.record(messages.FINALIZE, b""))
            self._finalizing = True
        self._accepting = False
        self._advance(Event.STOP)
        await self._end.enforce(process, timeout if self._finalizing else None)

    async def _start(self) -> None:
        spec = self.spec
        wires = Wires(spec.name)
        try:
            self._responses = ResponseMemory(wires.responses)
            born = await bear(spec, wires.theirs(self._requests.fileno()), self._fork_servers)
            self._process = StubProcess(born, spec, self._clock, self._on_exit)
        except BaseException as error:
            wires.cut()
            if isinstance(error, OSError):
                raise LoadError(f"'{spec.name}' can't be started with {spec.interpreter}: {error}") from error
            raise
        finally:
            wires.hand_over()
        self._link = Link(wires.link, self._on_records, self.on_nonsense, self._on_end)
        self.calls = Calls(wires.calls, self, self._requests, self._responses, self._services, self._clock)
        self._interview = Interview(spec, self._responses)
        self._advance(Event.LOAD)

    def _tell_levels(self) -> None:
        self._link.send(pack_json(messages.LEVELS, {"levels": self._services.log_levels.heard}))

    def _executing(self) -> int:
        """The number of the payload that it executes, 0 for none."""
        begun = self._responses.begun
        flight = self._flights.get(begun)
        return begun if flight is not None and not flight.executed else 0

    def _warn(self, number: int) -> None:
        """Let the model see that its time is nearly over, as if all who wait had gone."""
        flight = self._flights[number]
        for pending in flight.waiting():
            flight.cancel(pending, self._requests)

    def _too_long(self) -> None:
        self._condemn(f"an execution took longer than {self.spec.execution_limit:g} s ({EXECUTION_LIMIT_PARAMETER})")

    def _on_cold(self, kind: int, body: bytes) -> None:
        if kind == messages.LOG:
            if self._process is not None and self._process.console.admits():
                write(unpack_json(body), self.spec)
        elif kind == messages.FINALIZED and self._finalizing:
            if "error" in (said := unpack_json(body)):
                log.error("%s: finalize failed: %s", self.name, said.get("traceback") or said["error"])
        elif not self._interview.hear(kind, body):
            raise MessageError(f"a record of kind {kind} out of turn")

    # Ends: the model failed, the stub talks nonsense, its channel or its process is gone.

    async def _give_up(self, error: BaseException) -> None:
        self._condemn(str(error) or "its start was cancelled")
        if self._process is not None:
            await self._end.within(KILL_WAIT)

    def on_nonsense(self, why: str) -> None:
        """It said what no stub says: kill it."""
        self._condemn(f"it sent what is no message: {why}")

    def _condemn(self, verdict: str) -> None:
        """Kill it; `verdict` says why."""
        self._accepting = False
        if self._process is None:
            self.state = State.FAILED
            self.reason = verdict
        elif not self._end.come:
            self._end.verdict = self._end.verdict or verdict
            self._link.stop_reading()
            self._process.kill()
            self._advance(Event.FAIL)

    def _on_end(self) -> None:
        """Its end of the channel is closed: it is dying, or has no way left to be of use."""
        self._accepting = False
        process = self._process
        if process is not None and process.alive:
            self._end.expect(self._condemn)

    def _on_exit(self) -> None:
        self._accepting = False
        if self._trim_timer is not None:
            self._trim_timer.cancel()
        if self._limit is not None:
            self._limit.stop()
        self._services.log_levels.forget(self._tell_levels)
        self._link.drain()
        self._link.close()
        if self.calls is not None:
            self.calls.close()
        begun = self._responses.begun
        self._responses.close()
        self.reason = self._autopsy(begun)
        self._end.has_come()
        self._interview.end(self._unhealthy())
        self._advance(Event.EXIT)
        self._abandon(unavailable(self._unhealthy()), begun)

    def _unhealthy(self) -> str:
        return f"Stub process '{self.name}' is not healthy: {self.reason}"

    def _autopsy(self, begun: int) -> str:
        """What it died of, when, and its last words."""
        assert self._process is not None
        when = ""
        if self.state in (State.SPAWNED, State.LOADING):
            when = " while loading"
        elif any(number <= begun and not flight.executed for number, flight in self._flights.items()):
            when = " while executing"
        return self._end.autopsy(self._process, when)

    def _advance(self, event: Event) -> None:
        before, self.state = self.state, advance(self.state, event)
        if event is Event.EXIT or (before is State.READY) != (self.state is State.READY):
            self.on_change(self)

    def _trim(self) -> None:
        self._requests.trim(self._clock())
        self._trim_timer = self._loop.call_later(TRIM_SECONDS, self._trim)
