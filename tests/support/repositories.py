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


ADD = """
import json
import time

import numpy as np
import triton_python_backend_utils as pb_utils

CODES = "UNKNOWN INTERNAL NOT_FOUND INVALID_ARG UNAVAILABLE UNSUPPORTED ALREADY_EXISTS CANCELLED".split()


class TritonPythonModel:
    def initialize(self, args):
        given = json.loads(args["model_config"])["parameters"]
        self.add = float(given.get("add", {"string_value": "1"})["string_value"])
        self.sleep = float(given.get("sleep", {"string_value": "0"})["string_value"])

    def execute(self, requests):
        return [self.one(request) for request in requests]

    def one(self, request):
        deadline = time.monotonic() + self.sleep
        while time.monotonic() < deadline:
            time.sleep(0.005)
            if request.is_cancelled():
                print("seen: cancelled", request.request_id(), flush=True)
                break
        total = self.add
        for tensor in request.inputs():
            value = tensor.as_numpy()
            if value.size and value.flat[0] < 0:
                code = CODES[-int(value.flat[0]) - 1]
                error = pb_utils.TritonError(f"refused as {code}", getattr(pb_utils.TritonError, code))
                return pb_utils.InferenceResponse(error=error)
            total = total + value
        return pb_utils.InferenceResponse([pb_utils.Tensor("Y", total.astype(np.float32))])
"""
"""Y is the sum of the inputs and of the parameter `add`, after `sleep` seconds; -1 - N at first is error N."""


def write_add(
    repository: Path, name: str, config: str = "", inputs: str = "X", version: int = 1, **given: float
) -> Path:
    """A model of `ADD` with FP32 inputs of any length; `config` is what else its configuration says."""
    text = 'backend: "python"\noutput { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] }\n'
    for word in inputs.split():
        optional = " optional: true" if word.endswith("?") else ""
        text += f'input {{ name: "{word.rstrip("?")}" data_type: TYPE_FP32 dims: [ -1 ]{optional} }}\n'
    for key, value in given.items():
        text += f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
    return write_model(repository, name, ADD, text + config, version)


def write_ensemble(
    repository: Path, name: str, steps: list[str], inputs: str = "IN", outputs: str = "OUT", scheduling: str = ""
) -> Path:
    """An ensemble of FP32 tensors of any length. A step reads `model[:version] X=IN ... -> Y=OUT ...`."""
    text = 'platform: "ensemble"\n'
    for kind, words in (("input", inputs), ("output", outputs)):
        for word in words.split():
            optional = " optional: true" if word.endswith("?") else ""
            text += f'{kind} {{ name: "{word.rstrip("?")}" data_type: TYPE_FP32 dims: [ -1 ]{optional} }}\n'
    lines = []
    for step in steps:
        left, right = step.split("->")
        which, *read = left.split()
        model, _, version = which.partition(":")
        maps = "".join(
            f' {kind} {{ key: "{theirs}" value: "{ours}" }}'
            for kind, pairs in (("input_map", read), ("output_map", right.split()))
            for theirs, _, ours in (pair.partition("=") for pair in pairs)
        )
        lines.append(f'step {{ model_name: "{model}" model_version: {version or -1}{maps} }}\n')
    target = repository / name
    (target / "1").mkdir(parents=True, exist_ok=True)
    (target / "config.pbtxt").write_text(f"{text}ensemble_scheduling {{\n{scheduling}\n{''.join(lines)}}}\n")
    return target
