"""tritonclient's four clients behind one way to call any method of theirs and to wait for its result."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tritonclient import grpc as grpc_sync
from tritonclient import http as http_sync
from tritonclient.grpc import aio as grpc_aio
from tritonclient.http import aio as http_aio

from tools.process import ServerProcess

MODULES: dict[str, Any] = {"http": http_sync, "grpc": grpc_sync, "http.aio": http_aio, "grpc.aio": grpc_aio}


def methods(kind: str) -> list[str]:
    """The public methods of a client."""
    members = inspect.getmembers(MODULES[kind].InferenceServerClient)
    return [name for name, value in members if not name.startswith("_") and callable(value)]


class AnyClient:
    """A client of `kind`: `call` runs a method of it, a coroutine to its end; gRPC's messages come as dictionaries."""

    def __init__(self, kind: str, server: ServerProcess) -> None:
        self.kind = kind
        self.server = server
        self.module = MODULES[kind]
        self.grpc = kind.startswith("grpc")
        self._loop = asyncio.new_event_loop()
        address = server.grpc if self.grpc else server.http
        self.raw = self.wait(lambda: self.module.InferenceServerClient(address))

    def wait(self, make: Callable[[], Any]) -> Any:
        """What `make` gives inside the loop, waited for if it is to be."""

        async def run() -> Any:
            made = make()
            return await made if inspect.isawaitable(made) else made

        return self._loop.run_until_complete(run())

    def call(self, method: str, *args: Any, **how: Any) -> Any:
        """The result of a method."""
        bound = getattr(self.raw, method)
        if self.grpc and "as_json" in inspect.signature(bound).parameters:
            how["as_json"] = True
        return self.wait(lambda: bound(*args, **how))

    def infer_input(self, name: str, array: Any, datatype: str) -> Any:
        """An input for this client."""
        made = self.module.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array)
        return made

    def end(self) -> None:
        """Close the client, unless that was done, and its loop."""
        self.call("close")
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


@contextmanager
def any_client(kind: str, server: ServerProcess) -> Iterator[AnyClient]:
    """A client, open as long as the context."""
    made = AnyClient(kind, server)
    try:
        yield made
    finally:
        made.end()
