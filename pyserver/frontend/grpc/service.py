"""The RPCs: a table of what each decodes, asks the planes, and encodes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from pyserver.errors import ServerError
from pyserver.frontend.grpc.engine import Metadata, Method
from pyserver.frontend.grpc.stream import RefusedError
from pyserver.model.open_signature import enclose
from pyserver.protocol import grpc_infer, mlserver_headers, mlserver_response
from pyserver.protocol import grpc_messages as messages
from pyserver.types import InferRequest, InferResponse

if TYPE_CHECKING:
    from pyserver.controlplane.controlplane import ControlPlane
    from pyserver.dataplane import DataPlane
    from pyserver.extension.regions import Regions
    from pyserver.payload import Reply, Ticket

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

    def run(request: InferRequest) -> Any:
        if request.metadata is not None:
            tell(request, data)
        return data.infer(request)

    def submit(request: InferRequest, reply: Reply) -> Ticket:
        if request.metadata is not None:
            tell(request, data)
        return data.submit(request, reply)

    return Method(
        PREFIX + "ModelInfer",
        grpc_infer.decode,
        run,
        grpc_infer.encode,
        _is_quick,
        InferResponse.release,
        blame,
        submit,
        attach=_attach,
        trailers=functools.partial(_trailers, data.name),
    )


def infer_stream(data: DataPlane) -> Method:
    """ModelInfer as ModelStreamInfer does it: `run` gives a stream of the responses."""

    def run(request: InferRequest) -> Any:
        tell(request, data, stream=True)
        try:
            return data.infer_stream(request)
        except ServerError as error:
            raise refusal(error, request.model_name, request.model_version) from None

    def refusal(error: ServerError, name: str, version: str) -> ServerError:
        return RefusedError(error) if data.of_mlserver(name, version) else error

    def blame(error: ServerError) -> Any:
        if isinstance(error, grpc_infer.BadRequestError):
            raise refusal(error, error.model_name, error.model_version) from None
        raise error

    return infer(data)._replace(path=PREFIX + "ModelStreamInfer", run=run, submit=None, blame=blame)


def tell(request: InferRequest, data: DataPlane, stream: bool = False) -> None:
    """Give a request to an MLServer model its envelope, with the metadata that came with it."""
    if data.of_mlserver(request.model_name, request.model_version):
        headers = mlserver_headers.of_request(request.metadata or (), data.name, request.model_name)
        enclose(request, headers, stream)


def _attach(request: Any, metadata: Metadata) -> None:
    if isinstance(request, InferRequest):
        request.metadata = metadata


def _trailers(server_name: str, response: InferResponse) -> Metadata:
    if not mlserver_response.is_enveloped(response):
        return ()
    own = mlserver_response.opened(response).rest.get("headers")
    said = mlserver_headers.of_response(own, server_name, response.model_name, response.id)
    return [(name.lower(), value) for name, value in said if value.isascii()]


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
