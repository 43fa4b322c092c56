"""The composition root: the one module that knows every part, starts them in order, and ends them in order."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import time

from pyserver.bls import ModelServices
from pyserver.cache import config as cache_config
from pyserver.controlplane.controlplane import ControlPlane
from pyserver.dataplane import DataPlane
from pyserver.errors import ServerError
from pyserver.extension.infer import Limits
from pyserver.extension.regions import Regions
from pyserver.instance.forkserver import ForkServers
from pyserver.instance.log_levels import LogLevels, heard
from pyserver.model.custom_metrics import CustomMetrics
from pyserver.model.loader import Loader
from pyserver.model.registry import Registry
from pyserver.observe.log import Log
from pyserver.observe.otel import OpenTelemetrySink
from pyserver.observe.trace_settings import from_flags
from pyserver.observe.traces import Traces
from pyserver.repository.repository import ModelRepository
from pyserver.server.fronts import Fronts, shares_memory
from pyserver.settings import Settings

log = logging.getLogger(__name__)

KILL_GRACE = 2.0
HEAD_START = 0.02
"""Seconds that the first models get before the front ends are imported: enough to read their files and fork."""


class Server:
    """One server on the running loop: `start`, serve until a signal, `stop`."""

    def __init__(self, settings: Settings, log: Log | None = None) -> None:
        self._settings = settings
        startup = from_flags(settings)
        sink = None
        if startup.setting.trace_mode == "opentelemetry":
            sink = OpenTelemetrySink(startup.exporter, startup.resource)
        self._traces = Traces(startup, sink)
        self.registry = Registry()
        kept = cache_config.parse(settings.cache_config, settings.response_cache_byte_size)
        self._cache = None if kept is None else cache_config.make(kept, time.monotonic_ns)
        self._fork_servers = ForkServers() if settings.fork_stubs else None
        metrics = CustomMetrics()
        self._regions = Regions(shares_memory(settings), settings.client_shm_prefix)
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
        self.fronts = Fronts(settings)
        self._polling: asyncio.Task[None] | None = None
        self._warming: asyncio.Future[object] | None = None

    async def start(self) -> bool:
        """Start the models and open the ports, side by side: health answers while models load.

        False if the server has to exit.
        """
        loading = asyncio.ensure_future(self.control_plane.start(self._names()))
        try:
            # The models' processes are on their way while the front ends are imported, which takes about as long.
            await asyncio.sleep(HEAD_START)
            if not await self.fronts.start(self.data_plane, self.control_plane):
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
            self._polling = asyncio.get_running_loop().create_task(
                self.control_plane.poll(self._settings.repository_poll_secs)
            )
        settle()
        # Writing JSON numbers takes numpy: better now, in a thread, than on the loop when the first are asked for.
        self._warming = asyncio.get_running_loop().run_in_executor(None, importlib.import_module, "numpy")
        return True

    async def stop(self) -> None:
        """Not ready at once; answer all that was accepted; then the instances, then the connections."""
        settings = self._settings
        deadline = time.monotonic() + settings.exit_timeout_secs
        self.data_plane.stopping()
        if self._polling is not None:
            self._polling.cancel()
        self.control_plane.cancel_loads()
        if settings.drain_grace_secs:
            await asyncio.sleep(settings.drain_grace_secs)
        await self.fronts.drain(deadline)
        await self.control_plane.stop(max(KILL_GRACE, deadline - time.monotonic()))
        self._regions.close()
        if self._fork_servers is not None:
            self._fork_servers.close()
        if self._cache is not None:
            await self._cache.close()
        await asyncio.to_thread(self._traces.close)

    def _names(self) -> list[str] | None:
        """The models to load at start; None for all."""
        settings = self._settings
        if settings.model_control_mode != "explicit" or "*" in settings.load_model:
            return None
        return list(settings.load_model)


def settle() -> None:
    """Tell the garbage collector that what is here now stays, and that requests make no cycles worth looking for."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _obeyed(log: Log, levels: LogLevels) -> None:
    """Let models' Loggers say, from now on, what `log` shows."""

    def told(log: Log) -> None:
        wanted = log.wanted
        levels.change(heard(wanted.log_verbose_level, wanted.log_info, wanted.log_warning, wanted.log_error))

    log.listeners.append(told)
    told(log)
