"""grpc.health.v1: whether the server lives, for whichever service is asked about, as in Triton. Triton has no Watch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pyserver.errors import ServerError
from pyserver.frontend.grpc.bridge import Bridge, Crossing
from pyserver.frontend.grpc.engine import Call, Method, Stream, StreamMethod

if TYPE_CHECKING:
    from pyserver.dataplane import DataPlane

SERVICE = "/grpc.health.v1.Health/"
INTERVAL = 1.0
"""Seconds between two looks of a Watch."""

_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"
"""HealthCheckResponse.status, field 1, as SERVING and as NOT_SERVING."""


def check(data_plane: DataPlane) -> Method:
    """Health/Check. The request, which names a service, is not looked at."""
    return Method(SERVICE + "Check", lambda message: None, lambda request: data_plane.live(), _encode)


def watch(data_plane: DataPlane, bridge: Bridge, interval: float = INTERVAL) -> StreamMethod:
    """Health/Watch: the status now and whenever it changes; NOT_SERVING when the server is about to stop."""
    method = check(data_plane)

    async def serve(stream: Stream) -> None:
        last = b""
        while not stream.hung_up.is_set():
            status = _encode(await _looked(method, bridge))
            if status != last:
                await stream.write(status)
                last = status
            try:
                await asyncio.wait_for(stream.hung_up.wait(), interval)
            except asyncio.TimeoutError:
                continue
        await stream.write(_NOT_SERVING)

    return StreamMethod(SERVICE + "Watch", serve, asks=False)


async def _looked(method: Method, bridge: Bridge) -> bool:
    loop = asyncio.get_running_loop()
    found: asyncio.Future[bool] = loop.create_future()
    home: Crossing[bool] = Crossing(loop, found.set_result)
    bridge.post(_Look(method, home))
    return await found


class _Look(Call):
    __slots__ = ("home",)

    def __init__(self, method: Method, home: Crossing[bool]) -> None:
        super().__init__(method, b"")
        self.home = home

    def done(self, result: Any) -> None:
        self.home.post(bool(result))

    def refuse(self, error: ServerError) -> None:
        self.home.post(False)


def _encode(live: bool) -> bytes:
    return _SERVING if live else _NOT_SERVING
