"""The gRPC front end: an engine chosen, started, and ended in order."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from pyserver.errors import unsupported
from pyserver.frontend.access import AccessLog
from pyserver.frontend.address import is_loopback
from pyserver.frontend.answered import Answered
from pyserver.frontend.grpc import health, native_engine, reflection, service
from pyserver.frontend.grpc.access import logged, logged_stream
from pyserver.frontend.grpc.bridge import Bridge
from pyserver.frontend.grpc.engine import Engine, Options
from pyserver.frontend.grpc.grpcio_engine import GrpcioEngine
from pyserver.frontend.grpc.heeding import Heeding
from pyserver.frontend.grpc.native_engine import NativeEngine
from pyserver.frontend.grpc.stream import model_stream_infer
from pyserver.frontend.tls import grpc_files
from pyserver.protocol import restricted
from pyserver.protocol.forwarding import forwarding
from pyserver.settings import Settings

if TYPE_CHECKING:
    from pyserver.controlplane.controlplane import ControlPlane
    from pyserver.dataplane import DataPlane

log = logging.getLogger(__name__)


class GrpcServer:
    """gRPC on `--grpc-address` and `--grpc-port`, for planes that live on the loop that calls `start`."""

    title = "GRPCInferenceService"

    def __init__(
        self,
        data_plane: DataPlane,
        control_plane: ControlPlane,
        settings: Settings,
        answered: Answered | None = None,
    ) -> None:
        self.address = settings.grpc_address
        self.port = settings.grpc_port
        self.engine = ""
        self._choice = settings.grpc_engine
        self._options = options_of(settings)
        self._heeding = Heeding(
            restricted.parse_grpc(settings.grpc_restricted_protocol),
            forwarding(settings.grpc_header_forward_pattern),
            data_plane.traces.remote,
        )
        self._data_plane = data_plane
        self._access = AccessLog(settings.access_log, data_plane.log, answered)
        self._control_plane = control_plane
        self._engine: Engine | None = None

    async def start(self) -> None:
        """Listen; from then on `port` is the real one. ServerError where it can't be had."""
        bridge = Bridge(asyncio.get_running_loop())
        heeding = self._heeding
        methods = service.methods(self._data_plane, self._control_plane)
        methods.append(health.check(self._data_plane))
        methods = [method._replace(heed=heeding.of(method.path)) for method in methods]
        infer = service.infer_stream(self._data_plane)
        infer = infer._replace(heed=heeding.of(infer.path))
        streams = [model_stream_infer(infer.path, infer, bridge, self._access), health.watch(self._data_plane, bridge)]
        streams += reflection.methods()
        streams = [stream._replace(heed=heeding.of(stream.path)) for stream in streams]
        engine = choose(self._choice, self._options, bridge, exposed=not is_loopback(self.address))
        methods = [logged(method, self._access) for method in methods]
        streams = [logged_stream(method, self._access) for method in streams]
        try:
            self.port = await asyncio.to_thread(engine.start, self.address, self.port, methods, streams, self._options)
        except BaseException:
            await asyncio.to_thread(engine.stop)
            raise
        self._engine, self.engine = engine, engine.name
        if isinstance(engine, NativeEngine) and not is_loopback(self.address):
            log.warning(native_engine.INFLATES)

    def stop_accepting(self) -> None:
        """New calls get UNAVAILABLE."""
        if self._engine is not None:
            self._engine.stop_accepting()

    async def drain(self, timeout: float) -> None:
        """Answer what was accepted, for `timeout` seconds at most, then close everything."""
        self.stop_accepting()
        engine, self._engine = self._engine, None
        if engine is not None:
            if not await asyncio.to_thread(engine.drain, timeout):
                log.warning("gRPC calls were still running after %.1f seconds, and are cut off", timeout)
            await asyncio.to_thread(engine.stop)


def options_of(settings: Settings) -> Options:
    """What the operator has asked of an engine."""
    return Options(
        max_message=settings.grpc_max_message_size,
        max_metadata=settings.grpc_max_metadata_size,
        max_concurrent_streams=settings.grpc_max_concurrent_streams,
        max_connections=settings.grpc_max_connections or None,
        keepalive_time_ms=settings.grpc_keepalive_time,
        keepalive_timeout_ms=settings.grpc_keepalive_timeout,
        keepalive_permit_without_calls=settings.grpc_keepalive_permit_without_calls,
        max_pings_without_data=settings.grpc_http2_max_pings_without_data,
        min_recv_ping_interval_without_data_ms=settings.grpc_http2_min_recv_ping_interval_without_data,
        max_ping_strikes=settings.grpc_http2_max_ping_strikes,
        max_connection_age_ms=settings.grpc_max_connection_age or None,
        max_connection_age_grace_ms=settings.grpc_max_connection_age_grace or None,
        compression=settings.grpc_infer_response_compression_level,
        reuse_port=settings.reuse_grpc_port,
        tls=grpc_files(settings),
    )


def choose(name: str, options: Options, bridge: Bridge, exposed: bool = False) -> Engine:
    """The engine that `--grpc-engine` names: auto is pygrpc-native where it serves what is asked, else grpcio.

    `exposed` to other hosts, auto is grpcio, which limits what compressed messages inflate to. ServerError
    (UNSUPPORTED) for native where it can't be had.
    """
    reason = native_engine.unserved(options)
    if name == "native" and reason:
        raise unsupported(f"--grpc-engine=native can't be had: {reason}")
    if name == "grpcio" or reason or (name == "auto" and exposed):
        return GrpcioEngine(bridge)
    return NativeEngine(bridge)
