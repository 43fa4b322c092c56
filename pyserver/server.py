"""The composition root: the one module that knows every part, starts them in order, and ends them in order."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import logging
import signal
import sys
import time
from typing import Protocol

from pyserver.bls import ModelServices
from pyserver.cache import config as cache_config
from pyserver.controlplane import SETTLE, ControlPlane
from pyserver.core import heap
from pyserver.dataplane import DataPlane
from pyserver.errors import ServerError
from pyserver.extension.infer import Limits
from pyserver.extension.regions import Regions
from pyserver.frontend.address import is_loopback
from pyserver.instance.forkprocess import ForkProcess
from pyserver.instance.forkserver import ForkServers
from pyserver.instance.log_levels import LogLevels, heard
from pyserver.instance.process import show_all_stacks
from pyserver.model.custom_metrics import CustomMetrics
from pyserver.model.loader import Loader
from pyserver.model.registry import Registry
from pyserver.observe.log import Log
from pyserver.observe.otel import OpenTelemetrySink
from pyserver.observe.trace_settings import from_flags
from pyserver.observe.traces import Traces
from pyserver.repository.repository import ModelRepository
from pyserver.settings import Settings

log = logging.getLogger(__name__)

HEAP_BLOCKS = 32 << 20
HEAP_KEPT = 64 << 20
"""Blocks of fewer bytes than HEAP_BLOCKS come from the heap, which keeps HEAP_KEPT bytes when they are free. A message
of 1 MB is else mapped, faulted in page by page and unmapped in each of its copies: 200-400 page faults a request, a
third of its whole cost over gRPC."""

FRONTS = {
    "allow_http": "pyserver.frontend.rest.server",
    "allow_grpc": "pyserver.frontend.grpc.server",
    "allow_metrics": "pyserver.frontend.metrics",
}
"""The modules of the front ends, by the setting that wants them."""
KILL_GRACE = 2.0
WARM_UP_DELAY = 1.0
"""Seconds after the start, when what was not needed for it is imported."""


class Front(Protocol):
    """A front end: a port, and the two steps of closing it."""

    title: str
    address: str

    @property
    def port(self) -> int:
        """The port that is listened to, once it is started."""

    async def start(self) -> None:
        """Bind and accept; OSError or ServerError if the port can't be had."""

    def stop_accepting(self) -> None:
        """No new connections; those that rest are closed."""

    async def drain(self, timeout: float) -> None:
        """Answer what was accepted, for `timeout` seconds at most, then close everything."""


class Watcher(Protocol):
    """Who shows people how a server starts."""

    def starting(self, server: Server) -> None:
        """Its models are about to load."""

    def started(self, server: Server) -> None:
        """It is ready."""

    def ended(self) -> None:
        """It goes, perhaps before it was ready."""


class Server:
    """One server on the running loop: `start`, serve until a signal, `stop`.

    `begun` is the process of a fork server that was started before the server's own parts were imported.
    """

    def __init__(self, settings: Settings, log: Log | None = None, begun: ForkProcess | None = None) -> None:
        self._settings = settings
        startup = from_flags(settings)
        sink = None
        if startup.setting.trace_mode == "opentelemetry":
            sink = OpenTelemetrySink(startup.exporter, startup.resource)
        self._traces = Traces(startup, sink)
        self.registry = Registry()
        kept = cache_config.parse(settings.cache_config, settings.response_cache_byte_size)
        self._cache = None if kept is None else cache_config.make(kept, time.monotonic_ns)
        self._fork_servers = ForkServers(begun=begun) if settings.fork_stubs else None
        metrics = CustomMetrics()
        self._regions = Regions(_shares_memory(settings), settings.client_shm_prefix)
        self.data_plane = DataPlane(
            self.registry, settings.id, settings.strict_readiness, metrics, self._cache, log, self._traces,
            self._regions, Limits(settings.http_max_body_size, settings.max_classification_size),
        )  # fmt: skip
        if settings.mlserver is not None:
            self.data_plane.introduce(settings.mlserver["server_version"], settings.mlserver["extensions"])
        services = ModelServices(self.registry, metrics, self._traces)
        _obeyed(self.data_plane.log, services.log_levels)
        self.control_plane = services.control_plane = ControlPlane(
            self.registry,
            ModelRepository(settings.repositories),
            Loader(settings, time.monotonic_ns, services, self._cache, self._fork_servers),
            mode=settings.model_control_mode,
            drain=settings.exit_timeout_secs,
            upload_limit=settings.max_load_size,
        )
        self.fronts: list[Front] = []
        self._polling: asyncio.Task[None] | None = None
        self._warming: asyncio.TimerHandle | None = None

    async def start(self) -> bool:
        """Start the models and open the ports, side by side: health answers while models load.

        False if the server has to exit.
        """
        loop = asyncio.get_running_loop()
        loading = asyncio.ensure_future(self.control_plane.start(self._names()))
        try:
            # In a thread: the models' processes, which start meanwhile, are answered between two modules.
            await loop.run_in_executor(None, self._import_fronts)
            settle()
            if not await self._open():
                return False
            failed = await loading
        except ServerError as error:
            log.error("%s", error.message)
            return False
        finally:
            loading.cancel()
            await asyncio.wait((loading,))
        if failed and self._settings.exit_on_error:
            log.error("exiting, because these models did not load (--exit-on-error=true): %s", ", ".join(failed))
            return False
        self.data_plane.started()
        if self._settings.model_control_mode == "poll":
            self._polling = loop.create_task(self._poll())
        if self._fork_servers is not None:
            self._fork_servers.retire_idle()
        settle()
        self._warming = loop.call_later(WARM_UP_DELAY, self._warm_up)
        return True

    def _warm_up(self) -> None:
        """Writing JSON numbers takes numpy: better now, in a thread, than on the loop when the first are asked for."""
        asyncio.get_running_loop().run_in_executor(None, importlib.import_module, "numpy")

    async def _open(self) -> bool:
        """Open the ports; whether all could be had."""
        for front in self._make_fronts():
            try:
                await front.start()
            except (OSError, ServerError) as error:
                log.error("failed to start %s at %s: %s", front.title, front.address, error)
                return False
            self.fronts.append(front)
            log.info("Started %s at %s:%d", front.title, front.address, front.port)
        return True

    async def stop(self) -> None:
        """Not ready at once; answer all that was accepted; then the instances, then the connections."""
        settings = self._settings
        deadline = time.monotonic() + settings.exit_timeout_secs
        self.data_plane.stopping()
        for waiting in (self._polling, self._warming):
            if waiting is not None:
                waiting.cancel()
        self.control_plane.cancel_loads()
        if settings.drain_grace_secs:
            await asyncio.sleep(settings.drain_grace_secs)
        for front in self.fronts:
            front.stop_accepting()
        await asyncio.gather(*(front.drain(max(0.0, deadline - time.monotonic())) for front in self.fronts))
        await self.control_plane.stop(max(KILL_GRACE, deadline - time.monotonic()))
        self._regions.close()
        if self._fork_servers is not None:
            self._fork_servers.close()
        if self._cache is not None:
            await self._cache.close()
        await asyncio.to_thread(self._traces.close)

    async def _poll(self) -> None:
        """Look at the repositories now and then; what can't be read now may be read the next time."""
        seconds = self._settings.repository_poll_secs
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.control_plane.poll(min(SETTLE, seconds))
            except ServerError as error:
                log.error("%s", error.message)
            except Exception:
                log.exception("looking for changes in the model repositories")

    def _names(self) -> list[str] | None:
        """The models to load at start; None for all."""
        settings = self._settings
        if settings.model_control_mode != "explicit" or "*" in settings.load_model:
            return None
        return list(settings.load_model)

    def _import_fronts(self) -> None:
        """What `_make_fronts` imports, in any thread."""
        for wanted, module in FRONTS.items():
            if getattr(self._settings, wanted):
                importlib.import_module(module)

    def _make_fronts(self) -> list[Front]:
        settings = self._settings
        fronts: list[Front] = []
        answered = None
        if settings.mlserver is not None and settings.allow_metrics:
            from pyserver.frontend.answered import Answered

            answered = Answered()
        if settings.allow_http:
            from pyserver.frontend.rest.server import RestServer

            fronts.append(RestServer(self.data_plane, self.control_plane, settings, answered))
        if settings.allow_grpc:
            from pyserver.frontend.grpc.server import GrpcServer

            fronts.append(GrpcServer(self.data_plane, self.control_plane, settings, answered))
        if settings.allow_metrics:
            from pyserver.frontend.metrics import MetricsServer

            fronts.append(MetricsServer(self.data_plane, settings, answered))
        return fronts


def _shares_memory(settings: Settings) -> bool:
    """Whether clients may register shared memory: unless told otherwise, where all of them are on this host."""
    if settings.allow_client_shm != "auto":
        return settings.allow_client_shm == "true"
    opened = [(settings.allow_http, settings.http_address), (settings.allow_grpc, settings.grpc_address)]
    return all(is_loopback(address) for allowed, address in opened if allowed)


def serve(
    settings: Settings, log: Log | None = None, watcher: Watcher | None = None, begun: ForkProcess | None = None
) -> int:
    """Run a server until SIGINT or SIGTERM; the exit status is 0 if it started and ended in order."""
    heap.keep(HEAP_BLOCKS, HEAP_KEPT)
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_run(settings, log, watcher, begun))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _run(settings: Settings, shown: Log | None, watcher: Watcher | None, begun: ForkProcess | None) -> int:
    loop = asyncio.get_running_loop()
    _show_stacks_on_signal(loop)
    signalled = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled.set)
    try:
        server = Server(settings, shown, begun)
    except ServerError as error:
        log.error("%s", error.message)
        return 1
    if watcher is not None:
        watcher.starting(server)
    starting = loop.create_task(server.start())
    waiting = loop.create_task(signalled.wait())
    await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        if started := starting.result():
            if watcher is not None:
                watcher.started(server)
            log.info("ready: %s", settings.id)
            await waiting
    else:
        starting.cancel()
        await asyncio.wait((starting,))
        started = True
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _second_signal)
    waiting.cancel()
    if watcher is not None:
        watcher.ended()
    await server.stop()
    return 0 if started else 1


def _show_stacks_on_signal(loop: asyncio.AbstractEventLoop) -> None:
    """SIGUSR1 writes the stacks of all threads to the log: the server's, by the C library's means, so that a loop that
    is stuck shows where; and, if it is not, each stub's.
    """
    loop.add_signal_handler(signal.SIGUSR1, show_all_stacks)
    streams = [handler.stream for handler in logging.getLogger().handlers if isinstance(handler, logging.StreamHandler)]
    faulthandler.register(signal.SIGUSR1, file=streams[0] if streams else sys.stderr, chain=True)


def settle() -> None:
    """Tell the garbage collector that what is here now stays, and that requests make no cycles worth looking for.

    It is not asked to look first: imports leave hardly any garbage.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    gc.enable()


def _second_signal() -> None:
    """Whoever asks twice means now: the stubs go with the server (PR_SET_PDEATHSIG)."""
    log.warning("second signal: exiting at once")
    raise SystemExit(1)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _obeyed(log: Log, levels: LogLevels) -> None:
    """Let models' Loggers say, from now on, what `log` shows."""

    def told(log: Log) -> None:
        wanted = log.wanted
        levels.change(heard(wanted.log_verbose_level, wanted.log_info, wanted.log_warning, wanted.log_error))

    log.listeners.append(told)
    told(log)
