"""Where the model lies: pb_utils.get_model_dir."""

from __future__ import annotations

_model_dir = ""


def set_model_dir(path: str) -> None:
    """Say it, once, before the model is imported."""
    global _model_dir
    _model_dir = path


def get_model_dir() -> str:
    """The folder of the model's version, as Triton has it."""
    return _model_dir
