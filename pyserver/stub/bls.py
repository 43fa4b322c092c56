"""What a model needs to call other models: the values that describe such a call. The call itself is not there yet."""

from __future__ import annotations

import enum


class MemoryType(enum.IntEnum):
    """Where a tensor should lie."""

    TRITONSERVER_MEMORY_GPU = 0
    TRITONSERVER_MEMORY_CPU = 1


class PreferredMemory:
    """Where the outputs of a call should lie."""

    __slots__ = ("_device_id", "_memory_type")

    def __init__(self, preferred_memory_type: MemoryType, preferred_device_id: int = 0) -> None:
        self._memory_type = preferred_memory_type
        self._device_id = preferred_device_id


class InferenceTrace:
    """The trace that a request belongs to; `get_context` is None where there is none."""

    __slots__ = ("_context",)

    def __init__(self, context: str | None = None) -> None:
        self._context = context

    def get_context(self) -> str | None:
        """The OpenTelemetry context as JSON."""
        return self._context


class ResponseIterator:
    """The responses to a call of a decoupled model."""
