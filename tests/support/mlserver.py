"""MLServer folders for the tests, written on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ECHO = """
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Echo(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = [
            ResponseOutput(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape, data=tensor.data)
            for tensor in payload.inputs
        ]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
"""


def write_settings(folder: Path, file: str = "model-settings.json", /, **values: Any) -> Path:
    """Write a settings file; `implementation` is `models.Echo` unless given, None for none."""
    folder.mkdir(parents=True, exist_ok=True)
    if file == "model-settings.json" and values.setdefault("implementation", "models.Echo") is None:
        del values["implementation"]
    path = folder / file
    path.write_text(json.dumps(values))
    return path


def write_echo(folder: Path, /, **values: Any) -> Path:
    """A custom runtime that returns its inputs, with settings."""
    write_settings(folder, **values)
    (folder / "models.py").write_text(ECHO)
    return folder
