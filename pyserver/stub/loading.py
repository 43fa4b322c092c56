"""From a model's folder to its object: importing the file, completing the config, calling initialize."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import Any

from pyserver.stub.model_config import ModelConfig


class Load:
    """What a LOAD says; `model_file` is its whole path."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.model_name: str = fields["model_name"]
        self.instance_name: str = fields["instance_name"]
        self.version: str = fields["version"]
        self.version_directory: str = fields["version_directory"]
        self.folders = [fields["version_directory"], fields["model_directory"], fields["backend_directory"]]
        self.model_file = os.path.join(fields["version_directory"], fields["model_file"])
        self.config: dict[str, Any] = json.loads(fields["config"])
        self.complete_config: bool = fields["complete_config"]
        self.response_bytes: int = fields["response_bytes"]


def imported_class(load: Load) -> Any:
    """The file's `TritonPythonModel`.

    The file becomes the module `<version>.<stem>`, and sees the version's, the model's and the backend's folders at
    the end of sys.path, as under Triton.
    """
    sys.path.extend(folder for folder in load.folders if folder)
    if not os.path.isfile(load.model_file):
        raise FileNotFoundError(f"Python model file not found in '{load.model_file}'")
    name = f"{load.version}.{os.path.splitext(os.path.basename(load.model_file))[0]}"
    spec = importlib.util.spec_from_file_location(name, load.model_file)
    if spec is None or spec.loader is None:
        raise ImportError(f"'{load.model_file}' is not a Python source file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module.TritonPythonModel


def completed_config(model_class: Any, load: Load) -> dict[str, Any] | None:
    """The config as the class's auto_complete_config leaves it; None if there is no such function."""
    complete = getattr(model_class, "auto_complete_config", None)
    if not load.complete_config or complete is None:
        return None
    completed = complete(ModelConfig(load.config))
    if not isinstance(completed, ModelConfig):
        raise TypeError(
            f"auto_complete_config function in model '{load.model_name}' must return a valid pb.ModelConfig object."
        )
    return completed.as_dict()


def initialized(model_class: Any, args: dict[str, str]) -> Any:
    """An instance of the class, after its initialize."""
    model = model_class()
    initialize = getattr(model, "initialize", None)
    if initialize is not None:
        initialize(args)
    return model
