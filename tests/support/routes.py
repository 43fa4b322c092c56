"""tritonclient's four clients behind one call, so that a test runs over each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from tritonclient import grpc as grpc_sync
from tritonclient import http as http_sync
from tritonclient.grpc import aio as grpc_aio
from tritonclient.http import aio as http_aio

from tools.process import ServerProcess

Array: TypeAlias = "np.ndarray[Any, Any]"
Infer: TypeAlias = Callable[[str, Mapping[str, tuple[str, Array]]], Callable[[str], Array]]
"""(model, input name -> (datatype, array)) -> a function from an output's name to its array."""

ROUTES = ("http", "http json", "http.aio", "grpc", "grpc.aio")


@contextmanager
def route(name: str, server: ServerProcess) -> Iterator[Infer]:
    """A client of the kind `name`, open as long as the context."""
    protocol, _, kind = name.partition(".")
    opened = _aio(protocol, server) if kind == "aio" else _sync(protocol, server)
    with opened as infer:
        yield infer


@contextmanager
def _sync(protocol: str, server: ServerProcess) -> Iterator[Infer]:
    module: Any = grpc_sync if protocol == "grpc" else http_sync
    json = {"binary_data": False} if protocol == "http json" else {}
    patience = {} if protocol == "grpc" else {"network_timeout": 120, "connection_timeout": 120}
    with module.InferenceServerClient(server.grpc if protocol == "grpc" else server.http, **patience) as client:

        def infer(model: str, inputs: Mapping[str, tuple[str, Array]]) -> Callable[[str], Array]:
            # None asks for all outputs, as binary.
            outputs = [http_sync.InferRequestedOutput(f"{name}_OUT", **json) for name in inputs] if json else None
            as_numpy: Callable[[str], Array] = client.infer(
                model, _inputs(module, inputs, **json), outputs=outputs
            ).as_numpy
            return as_numpy

        yield infer


@contextmanager
def _aio(protocol: str, server: ServerProcess) -> Iterator[Infer]:
    loop = asyncio.new_event_loop()
    module: Any = http_aio if protocol == "http" else grpc_aio
    client = loop.run_until_complete(_made(lambda: module.InferenceServerClient(getattr(server, protocol))))
    try:
        yield lambda model, inputs: loop.run_until_complete(client.infer(model, _inputs(module, inputs))).as_numpy
    finally:
        loop.run_until_complete(client.close())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _made(make: Callable[[], Any]) -> Any:
    """An aio client wants to be made inside its loop."""
    return make()


def _inputs(module: Any, inputs: Mapping[str, tuple[str, Array]], **how: bool) -> list[Any]:
    made = []
    for name, (datatype, array) in inputs.items():
        made.append(module.InferInput(name, list(array.shape), datatype))
        made[-1].set_data_from_numpy(array, **how)
    return made
