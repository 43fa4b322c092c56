"""The messages of proto/inference.proto: the V2 protocol over gRPC."""

from __future__ import annotations

from typing import Any

from pyserver.proto import pool


def __getattr__(name: str) -> Any:
    value = globals()[name] = pool.exported("inference.proto", name)
    return value
