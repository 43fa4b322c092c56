"""The RPCs: a table of what each decodes, asks the planes, and encodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from pyserver.errors import ServerError
from pyserver.frontend.grpc.engine import Method
from pyserver.protocol import grpc_infer
from pyserver.protocol import grpc_messages as messages
from pyserver.types import InferResponse

if TYPE_CHECKING:
    from pyserver.controlplane import ControlPlane
    from pyserver.dataplane import DataPlane
    from pyserver.extension.regions import Regions

SERVICE = "inference.GRPCInferenceService"
PREFIX = f"/{SERVICE}/"

QUICK = 2 << 20
"""To copy a response none of whose outputs has more bytes costs less than to have another thread do it."""


def methods(data: DataPlane, control: ControlPlane) -> list[Method]:
    """Every unary RPC of the service."""
    return [
        infer(data), *_server(data), *_model(data), *_repository(control), *_shared_memory(data.regions),
        *_observing(data),
    ]  # fmt: skip


def infer(data: DataPlane) -> Method:
    """ModelInfer. Of a request that is wrong in itself, and for an unknown model, the client hears about the model."""

    def blame(error: ServerError) -> Any:
        if isinstance(error, grpc_infer.BadRequestError):
            data.check(error.model_name, error.model_version)
        raise error

    return Method(
        PREFIX + "ModelInfer",
        grpc_infer.decode,
        data.infer,
        grpc_infer.encode,
        _is_quick,
        InferResponse.release,
        blame,
        data.submit,
    )


def infer_stream(data: DataPlane) -> Method:
    """ModelInfer as ModelStreamInfer does it: `run` gives a stream of the responses."""
    return infer(data)._replace(path=PREFIX + "ModelStreamInfer", run=data.infer_stream, submit=None)


def _is_quick(response: InferResponse) -> bool:
    for output in response.outputs:  # noqa: SIM110 (a generator costs more than all the rest)
        if len(output.data) > QUICK:
            return False
    return True


def _server(data: DataPlane) -> list[Method]:
    return [
        _method("ServerLive", messages.parse_nothing, lambda _: data.live(), messages.server_live),
        _method("ServerReady", messages.parse_nothing, lambda _: data.ready(), messages.server_ready),
        _method("ServerMetadata", messages.parse_nothing, lambda _: data.server_metadata(), messages.server_metadata),
    ]


def _model(data: DataPlane) -> list[Method]:
    return [
        _named("ModelReady", lambda *asked: asyncio.ensure_future(data.probe(*asked)), messages.model_ready),
        _named("ModelMetadata", data.model_metadata, messages.model_metadata),
        _named("ModelConfig", data.model_config_json, messages.model_config),
        _named("ModelStatistics", data.statistics, messages.statistics),
    ]


def _repository(control: ControlPlane) -> list[Method]:
    return [
        _method("RepositoryIndex", messages.parse_index, control.index, messages.index),
        _method("RepositoryModelLoad", messages.parse_load, _Unhurried(control.load), messages.nothing),
        _method("RepositoryModelUnload", messages.parse_unload, _Unhurried(control.unload), messages.nothing),
    ]


def _shared_memory(regions: Regions) -> list[Method]:
    parse, nothing = messages.parse_region, messages.nothing
    system, cuda = "SystemSharedMemory", "CudaSharedMemory"
    return [
        _method(f"{system}Status", parse, regions.status, messages.system_regions),
        _method(f"{system}Register", messages.parse_register, lambda asked: regions.register(*asked), nothing),
        _method(f"{system}Unregister", parse, regions.unregister, nothing),
        _method(f"{cuda}Status", parse, regions.status_cuda, messages.cuda_regions),
        _method(f"{cuda}Register", messages.parse_register_cuda, lambda asked: regions.register_cuda(*asked), nothing),
        _method(f"{cuda}Unregister", parse, regions.unregister_cuda, nothing),
    ]


def _observing(data: DataPlane) -> list[Method]:
    return [
        _method(
            "TraceSetting",
            messages.parse_trace_setting,
            lambda asked: data.trace_setting(*asked),
            messages.trace_setting,
        ),
        _method(
            "LogSettings", messages.parse_log_settings, lambda changes: data.log.update(changes), messages.log_settings
        ),
    ]


def _method(
    name: str, decode: Callable[[bytes], Any], run: Callable[[Any], Any], encode: Callable[[Any], bytes]
) -> Method:
    return Method(PREFIX + name, decode, run, encode)


def _named(name: str, run: Callable[[str, str], Any], encode: Callable[[Any], bytes]) -> Method:
    return _method(name, messages.parse_named, lambda asked: run(*asked), encode)


class _Unhurried:
    """Runs a coroutine to its end even if the client that asked for it goes: half a load is no load."""

    def __init__(self, work: Callable[..., Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._running: set[asyncio.Task[None]] = set()

    def __call__(self, arguments: tuple[Any, ...]) -> asyncio.Future[None]:
        task = asyncio.get_running_loop().create_task(self._work(*arguments))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return asyncio.shield(task)
