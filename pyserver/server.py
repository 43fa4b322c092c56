"""The composition root: the one module that knows every part, starts them in order, and ends them in order."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import signal
import time
from typing import Protocol

from pyserver.cache import config as cache_config
from pyserver.controlplane import ControlPlane
from pyserver.dataplane import DataPlane
from pyserver.errors import ServerError
from pyserver.model.loader import Loader
from pyserver.model.registry import Registry
from pyserver.repository.repository import ModelRepository
from pyserver.settings import Settings

log = logging.getLogger(__name__)

KILL_GRACE = 2.0
HEAD_START = 0.02
"""Seconds that the first models get before the front ends are imported: enough to read their files and fork."""


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


class Server:
    """One server on the running loop: `start`, serve until a signal, `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = Registry()
        kept = cache_config.parse(settings.cache_config, settings.response_cache_byte_size)
        self._cache = None if kept is None else cache_config.make(kept, time.monotonic_ns)
        self.data_plane = DataPlane(self._registry, settings.id, settings.strict_readiness, self._cache)
        self.control_plane = ControlPlane(
            self._registry,
            ModelRepository(settings.repositories),
            Loader(settings, time.monotonic_ns, self._cache),
            explicit=settings.model_control_mode == "explicit",
            drain=settings.exit_timeout_secs,
        )
        self._fronts: list[Front] = []
        self._warming: asyncio.Future[object] | None = None

    async def start(self) -> bool:
        """Start the models and open the ports, side by side: health answers while models load.

        False if the server has to exit.
        """
        loading = asyncio.ensure_future(self.control_plane.start(self._names()))
        try:
            # The models' processes are on their way while the front ends are imported, which takes about as long.
            await asyncio.sleep(HEAD_START)
            if not await self._open():
                return False
            failed = await loading
        finally:
            loading.cancel()
            await asyncio.wait((loading,))
        if failed and self._settings.exit_on_error:
            log.error("exiting, because these models did not load (--exit-on-error=true): %s", ", ".join(failed))
            return False
        self.data_plane.started()
        settle()
        # Writing JSON numbers takes numpy: better now, in a thread, than on the loop when the first are asked for.
        self._warming = asyncio.get_running_loop().run_in_executor(None, importlib.import_module, "numpy")
        return True

    async def _open(self) -> bool:
        """Open the ports; whether all could be had."""
        for front in self._make_fronts():
            try:
                await front.start()
            except (OSError, ServerError) as error:
                log.error("failed to start %s at %s: %s", front.title, front.address, error)
                return False
            self._fronts.append(front)
            log.info("Started %s at %s:%d", front.title, front.address, front.port)
        return True

    async def stop(self) -> None:
        """Not ready at once; answer all that was accepted; then the instances, then the connections."""
        settings = self._settings
        deadline = time.monotonic() + settings.exit_timeout_secs
        self.data_plane.stopping()
        if settings.drain_grace_secs:
            await asyncio.sleep(settings.drain_grace_secs)
        for front in self._fronts:
            front.stop_accepting()
        await asyncio.gather(*(front.drain(max(0.0, deadline - time.monotonic())) for front in self._fronts))
        await self.control_plane.stop(max(KILL_GRACE, deadline - time.monotonic()))
        if self._cache is not None:
            await self._cache.close()

    def _names(self) -> list[str] | None:
        """The models to load at start; None for all."""
        settings = self._settings
        if settings.model_control_mode == "none" or "*" in settings.load_model:
            return None
        return list(settings.load_model)

    def _make_fronts(self) -> list[Front]:
        settings = self._settings
        fronts: list[Front] = []
        if settings.allow_http:
            from pyserver.frontend.rest.server import RestServer

            fronts.append(RestServer(self.data_plane, self.control_plane, settings))
        if settings.allow_grpc:
            from pyserver.frontend.grpc.server import GrpcServer

            fronts.append(GrpcServer(self.data_plane, self.control_plane, settings))
        if settings.allow_metrics:
            from pyserver.frontend.metrics import MetricsServer

            fronts.append(MetricsServer(self.data_plane, settings))
        return fronts


def serve(settings: Settings) -> int:
    """Run a server until SIGINT or SIGTERM; the exit status is 0 if it started and ended in order."""
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_run(settings))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _run(settings: Settings) -> int:
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled.set)
    server = Server(settings)
    starting = loop.create_task(server.start())
    waiting = loop.create_task(signalled.wait())
    await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        if started := starting.result():
            log.info("ready: %s", settings.id)
            await waiting
    else:
        starting.cancel()
        await asyncio.wait((starting,))
        started = True
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _second_signal)
    waiting.cancel()
    await server.stop()
    return 0 if started else 1


def settle() -> None:
    """Tell the garbage collector that what is here now stays, and that requests make no cycles worth looking for."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


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
