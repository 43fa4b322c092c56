"""The front ends of a server: which there are, and how they open and close together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from pyserver.errors import ServerError
from pyserver.frontend.address import is_loopback
from pyserver.settings import Settings

if TYPE_CHECKING:
    from pyserver.controlplane.controlplane import ControlPlane
    from pyserver.dataplane import DataPlane

log = logging.getLogger(__name__)


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


class Fronts:
    """The ports of one server that are open."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: list[Front] = []

    def __iter__(self) -> Iterator[Front]:
        return iter(self._open)

    async def start(self, data_plane: DataPlane, control_plane: ControlPlane) -> bool:
        """Import what the front ends need, and open the ports; whether all could be had."""
        for front in _make(self._settings, data_plane, control_plane):
            try:
                await front.start()
            except (OSError, ServerError) as error:
                log.error("failed to start %s at %s: %s", front.title, front.address, error)
                return False
            self._open.append(front)
            log.info("Started %s at %s:%d", front.title, front.address, front.port)
        return True

    async def drain(self, deadline: float) -> None:
        """Accept nothing more, answer what was accepted until `deadline` (monotonic seconds) at most, then close."""
        for front in self._open:
            front.stop_accepting()
        await asyncio.gather(*(front.drain(max(0.0, deadline - time.monotonic())) for front in self._open))


def _make(settings: Settings, data_plane: DataPlane, control_plane: ControlPlane) -> list[Front]:
    fronts: list[Front] = []
    answered = None
    if settings.mlserver is not None and settings.allow_metrics:
        from pyserver.frontend.answered import Answered

        answered = Answered()
    if settings.allow_http:
        from pyserver.frontend.rest.server import RestServer

        fronts.append(RestServer(data_plane, control_plane, settings, answered))
    if settings.allow_grpc:
        from pyserver.frontend.grpc.server import GrpcServer

        fronts.append(GrpcServer(data_plane, control_plane, settings, answered))
    if settings.allow_metrics:
        from pyserver.frontend.metrics import MetricsServer

        fronts.append(MetricsServer(data_plane, settings, answered))
    return fronts


def shares_memory(settings: Settings) -> bool:
    """Whether clients may register shared memory: unless told otherwise, where all of them are on this host."""
    if settings.allow_client_shm != "auto":
        return settings.allow_client_shm == "true"
    opened = [(settings.allow_http, settings.http_address), (settings.allow_grpc, settings.grpc_address)]
    return all(is_loopback(address) for allowed, address in opened if allowed)
