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
    if protocol == "grpc":
        with grpc_sync.InferenceServerClient(server.grpc) as client:
            yield lambda model, inputs: client.infer(model, _inputs(grpc_sync, inputs)).as_numpy
    else:
        binary = protocol != "http json"
        how = {} if binary else {"binary_data": False}
        with http_sync.InferenceServerClient(server.http, network_timeout=120, connection_timeout=120) as client:
            yield lambda model, inputs: client.infer(
                model, _inputs(http_sync, inputs, **how), outputs=_outputs(inputs, binary)
            ).as_numpy


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


def _outputs(inputs: Mapping[str, tuple[str, Array]], binary: bool) -> list[http_sync.InferRequestedOutput] | None:
    """None asks for all, as binary."""
    if binary:
        return None
    return [http_sync.InferRequestedOutput(f"{name}_OUT", binary_data=False) for name in inputs]


