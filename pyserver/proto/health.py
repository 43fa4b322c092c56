"""The messages of proto/health.proto: `grpc.health.v1`."""

from __future__ import annotations

from typing import Any

from pyserver.proto import pool


def __getattr__(name: str) -> Any:
    value = globals()[name] = pool.exported("health.proto", name)
    return value
