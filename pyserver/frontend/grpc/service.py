"""The RPCs: a table of what each decodes, asks the planes, and encodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from pyserver.errors import unsupported
from pyserver.frontend.grpc.engine import Method
from pyserver.frontend.grpc.planes import ControlPlane, DataPlane
from pyserver.proto import inference as pb
from pyserver.proto import pool
from pyserver.protocol import grpc_infer
from pyserver.protocol import grpc_messages as messages
from pyserver.types import InferResponse

SERVICE = "inference.GRPCInferenceService"
INFER = f"/{SERVICE}/ModelInfer"
STREAM_INFER = f"/{SERVICE}/ModelStreamInfer"

QUICK = 256 * 1024
"""A response whose outputs have fewer bytes each is encoded in microseconds."""


def methods(data: DataPlane, control: ControlPlane) -> list[Method]:
    """Every unary RPC of the service; those that aren't there yet say so."""
    made = [infer(data), *_server(data), *_model(data), *_repository(control)]
    known = {method.path for method in made}
    unary = (method for method in pool.methods(SERVICE) if not method.request_streams)
    return made + [_absent(method.path, method.name) for method in unary if method.path not in known]


def infer(data: DataPlane) -> Method:
    """ModelInfer."""
    return Method(INFER, grpc_infer.decode, data.infer, _encode, _is_quick, InferResponse.release)


def _encode(response: InferResponse) -> bytes:
    try:
        return grpc_infer.encode(response)
    finally:
        response.release()


def _is_quick(response: InferResponse) -> bool:
    for output in response.outputs:
        if len(output.data) > QUICK:
            return False
    return True


def _server(data: DataPlane) -> list[Method]:
    return [
        _method("ServerLive", _nothing, lambda _: data.live(), lambda live: _flag(pb.ServerLiveResponse(live=live))),
        _method(
            "ServerReady", _nothing, lambda _: data.ready(), lambda ready: _flag(pb.ServerReadyResponse(ready=ready))
        ),
        _method("ServerMetadata", _nothing, lambda _: data.server_metadata(), messages.server_metadata),
    ]
