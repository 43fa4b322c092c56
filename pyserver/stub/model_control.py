"""Loading and unloading models from within a model: pb_utils.load_model and its companions.

TritonModelException says what the server refused, as whoever asks by the API would hear it.
"""

from __future__ import annotations

import base64
from typing import Mapping

from pyserver.stub.calls import calls
from pyserver.stub.exceptions import incompatible


def load_model(model_name: str, config: str = "", files: Mapping[str, bytes] | None = None) -> None:
    """Load or reload a model; returns when it serves. `files` (names `file:1/model.py`) needs `config` (JSON)."""
    _check_text("load_model(model_name: str, config: str = '', files: dict = None)", model_name, config)
    parameters = {name: base64.b64encode(content).decode() for name, content in (files or {}).items()}
    if config:
        parameters["config"] = config
    calls().control("load", model=model_name, parameters=parameters)


def unload_model(model_name: str, unload_dependents: bool = False) -> None:
    """Stop serving a model; one that is unknown is none."""
    _check_text("unload_model(model_name: str, unload_dependents: bool = False)", model_name)
    calls().control("unload", model=model_name, unload_dependents=bool(unload_dependents))


def is_model_ready(model_name: str, model_version: str = "") -> bool:
    """Whether a model, or one version of it, serves; False for one that is unknown."""
    _check_text("is_model_ready(model_name: str, model_version: str = '')", model_name, model_version)
    return bool(calls().control("ready", model=model_name, version=model_version))


def _check_text(signature: str, *texts: object) -> None:
    if not all(isinstance(text, str) for text in texts):
        raise incompatible(signature, *texts)
