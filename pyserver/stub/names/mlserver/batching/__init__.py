"""Adaptive batching, which is the server's work here: a model may ask for it, and gets itself."""

from __future__ import annotations

from typing import Any


async def load_batching(model: Any) -> Any:
    """The model: its requests are batched before they come to its process."""
    return model


__all__ = ["load_batching"]
