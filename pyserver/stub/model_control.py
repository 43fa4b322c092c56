"""Loading and unloading of other models by a model. Not there yet: each call says so."""

from __future__ import annotations

from typing import Any

from pyserver.stub.exceptions import not_yet


def load_model(model_name: str, config: str = "", files: dict[str, bytes] | None = None) -> Any:
    """Load a model."""
    raise not_yet("pb_utils.load_model")


def unload_model(model_name: str, unload_dependents: bool = False) -> Any:
    """Unload a model."""
    raise not_yet("pb_utils.unload_model")


def is_model_ready(model_name: str, model_version: str = "") -> bool:
    """Whether a model is ready."""
    raise not_yet("pb_utils.is_model_ready")
