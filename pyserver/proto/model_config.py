"""The messages of proto/model_config.proto: `ModelConfig` and what it is made of, `DataType` and its numbers."""

from __future__ import annotations

from typing import Any

from pyserver.proto import pool


def __getattr__(name: str) -> Any:
    value = globals()[name] = pool.exported("model_config.proto", name)
    return value
