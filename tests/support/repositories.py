"""Model repositories for the tests: the real small models of tests/models, and models written on the spot."""

from __future__ import annotations

import shutil
from pathlib import Path

MODELS = Path(__file__).parent.parent / "models"
EXAMPLES = Path(__file__).parent.parent.parent / "examples"

CONSTANT = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        value = pb_utils.Tensor("VALUE", np.array([{value}], np.int32))
        return [pb_utils.InferenceResponse([value]) for _ in requests]
"""
CONSTANT_CONFIG = """
backend: "python"
input { name: "ASKED" data_type: TYPE_BOOL dims: [ 1 ] }
output { name: "VALUE" data_type: TYPE_INT32 dims: [ 1 ] }
"""


def copy_model(repository: Path, name: str, under: str | None = None) -> Path:
    """Copy a model of tests/models into `repository`, under another name if one is given."""
    target = repository / (under or name)
    shutil.copytree(MODELS / name, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def write_model(repository: Path, name: str, source: str, config: str | None, version: int = 1) -> Path:
    """Write a model of one file; `config` is its config.pbtxt, None for none."""
    target = repository / name
    (target / str(version)).mkdir(parents=True, exist_ok=True)
    (target / str(version) / "model.py").write_text(source)
    if config is not None:
        (target / "config.pbtxt").write_text(config)
    return target


def write_constant(repository: Path, name: str, value: int = 1, version: int = 1) -> Path:
    """A model that answers VALUE = `value` to anything ASKED."""
    return write_model(repository, name, CONSTANT.format(value=value), CONSTANT_CONFIG, version)
