"""What the gRPC front end asks of the rest of the server: every call of these runs on the main loop."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping
from typing import Any, Protocol

from pyserver.types import InferRequest, InferResponse


class DataPlane(Protocol):
    """Inference, and what is known about the models. Everything may raise a ServerError."""

    def live(self) -> bool: ...

    def ready(self) -> bool: ...

    def model_ready(self, name: str, version: str) -> bool: ...

    def server_metadata(self) -> dict[str, Any]: ...

    def model_metadata(self, name: str, version: str) -> dict[str, Any]: ...

    def model_config_json(self, name: str, version: str) -> str: ...

    def statistics(self, name: str, version: str) -> list[dict[str, Any]]: ...

    def infer(self, request: InferRequest) -> Future[InferResponse]: ...


class ControlPlane(Protocol):
    """Loading and unloading of models."""

    def index(self, ready_only: bool) -> list[dict[str, Any]]: ...

    async def load(self, name: str, parameters: Mapping[str, Any]) -> None: ...

    async def unload(self, name: str, dependents: bool) -> None: ...
