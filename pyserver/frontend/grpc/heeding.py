"""Who looks at the metadata of a call: restricted protocols and header forwarding, for every RPC alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyserver.frontend.grpc.engine import Heed
from pyserver.observe.traces import TRACEPARENT
from pyserver.protocol.forwarding import Forwarding
from pyserver.protocol.restricted import INFERENCE, Restrictions
from pyserver.types import InferRequest

KINDS = {
    "ServerLive": "health",
    "ServerReady": "health",
    "ModelReady": "health",
    "Check": "health",
    "Watch": "health",
    "ServerMetadata": "metadata",
    "ModelMetadata": "metadata",
    "ModelInfer": INFERENCE,
    "ModelStreamInfer": INFERENCE,
    "ModelConfig": "model-config",
    "ModelStatistics": "statistics",
    "RepositoryIndex": "model-repository",
    "RepositoryModelLoad": "model-repository",
    "RepositoryModelUnload": "model-repository",
    "SystemSharedMemoryStatus": "shared-memory",
    "SystemSharedMemoryRegister": "shared-memory",
    "SystemSharedMemoryUnregister": "shared-memory",
    "CudaSharedMemoryStatus": "shared-memory",
    "CudaSharedMemoryRegister": "shared-memory",
    "CudaSharedMemoryUnregister": "shared-memory",
    "TraceSetting": "trace",
    "LogSettings": "logging",
    # Reflection tells what could be called.
    "ServerReflectionInfo": "metadata",
}
"""What `--grpc-restricted-protocol` calls what an RPC does. An RPC that is not here can't be served."""


class Heeding:
    """What is looked at, for the RPCs of one server."""

    def __init__(self, restrictions: Restrictions, forwarding: Forwarding | None, spans: bool = False) -> None:
        """`spans`: the trace contexts of clients are looked for."""
        self._restrictions = restrictions
        self._forwarding = forwarding
        self._spans = spans

    def of(self, path: str) -> Heed | None:
        """What to do with the metadata of calls to `path`; None for nothing. KeyError for an RPC without a kind."""
        kind = KINDS[path.rpartition("/")[2]]
        restricts = self._restrictions.restricts(kind)
        forwarding = self._forwarding if kind == INFERENCE else None
        spans = self._spans and kind == INFERENCE
        if not restricts and not spans and forwarding is None:
            return None

        def heed(request: Any, metadata: Mapping[str, str]) -> None:
            self._restrictions.check(kind, metadata.get)
            if forwarding is not None and isinstance(request, InferRequest):
                request.parameters.update(forwarding.parameters(metadata.items()))
            if spans and isinstance(request, InferRequest) and TRACEPARENT in metadata:
                request.parameters = {**request.parameters, TRACEPARENT: metadata[TRACEPARENT]}

        return heed
