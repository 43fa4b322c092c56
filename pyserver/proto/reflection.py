"""The messages of proto/reflection.proto: `grpc.reflection.v1`."""

from __future__ import annotations

from typing import Any

from pyserver.proto import pool


def __getattr__(name: str) -> Any:
    value = globals()[name] = pool.exported("reflection.proto", name)
    return value
