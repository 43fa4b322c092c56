"""Backends in Python: NAME/model.py in a backend directory serves every model with `backend: "NAME"`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import ask, index, infer_json, tensor
from tests.support.repositories import write_constant
from tools.process import ServerProcess

pytestmark = pytest.mark.ours  # Triton takes them too, from another folder

BACKEND = """
import json, os
import numpy as np
import triton_python_backend_utils as pb_utils
from words import NAMES


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.set_max_batch_size(8)
        config.set_dynamic_batching()
        for name in NAMES["inputs"]:
            config.add_input({"name": name, "data_type": "TYPE_FP32", "dims": [-1]})
        for name in NAMES["outputs"]:
            config.add_output({"name": name, "data_type": "TYPE_FP32", "dims": [-1]})
        return config

    def initialize(self, args):
        with open(os.path.join(pb_utils.get_model_dir(), "factor.txt")) as file:
            self.factor = float(file.read())
        given = json.loads(args["model_config"])["parameters"]
        self.offset = float(given["offset"]["string_value"]) if "offset" in given else 0.0
        print("serves", args["model_name"], "from", os.path.basename(os.path.dirname(__file__)), flush=True)

    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor(
            "Y", (request.inputs()[0].as_numpy() * self.factor + self.offset).astype(np.float32))])
            for request in requests]
"""


def write_backend(folder: Path, source: str = BACKEND) -> Path:
    (folder / "scale").mkdir(parents=True)
    (folder / "scale/model.py").write_text(source)
    (folder / "scale/words.py").write_text('NAMES = {"inputs": ["X"], "outputs": ["Y"]}\n')
    return folder


def write_scaled(repository: Path, name: str, factor: float, config: str = "", backend: str = "scale") -> None:
    """A model that has no model.py of its own, nor inputs and outputs in its configuration."""
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "1/factor.txt").write_text(str(factor))
    (repository / name / "config.pbtxt").write_text(f'backend: "{backend}"\n{config}')


def scaled(server: ServerProcess, model: str, values: list[float]) -> list[float]:
    answer = infer_json(server, model, {"inputs": [tensor("X", "FP32", [1, len(values)], values)]})
    assert answer.status == 200, answer
    found: list[float] = answer.json["outputs"][0]["data"]
    return found


def test_many_models_of_one_backend(serve: Serve, tmp_path: Path) -> None:
    backends = write_backend(tmp_path / "backends")
    models = tmp_path / "models"
    write_scaled(models, "twice", 2)
    write_scaled(models, "thrice", 3, 'parameters { key: "offset" value { string_value: "0.5" } }\n')
    write_constant(models, "plain")
    server = serve(models, options=("--backend-directory", str(backends)))
    assert scaled(server, "twice", [1, 2]) == [2, 4]
    assert scaled(server, "thrice", [1, 2]) == [3.5, 6.5]
    server.wait_log("serves thrice from scale")
    config = ask(server, "GET", "/v2/models/twice/config").json
    assert (config["backend"], config["max_batch_size"]) == ("scale", 8)
    assert [entry["name"] for entry in config["input"]] == ["X"]
    assert "dynamic_batching" in config


def test_a_folder_of_ones_own_goes_before_the_bundled_and_an_unknown_one_is_told(serve: Serve, tmp_path: Path) -> None:
    first, second = (
        write_backend(tmp_path / "first"),
        write_backend(tmp_path / "second", "raise ImportError('second')\n"),
    )
    (first / "scale").rename(first / "onnxruntime")
    models = tmp_path / "models"
    write_scaled(models, "mine", 2, backend="onnxruntime")
    write_scaled(models, "broken", 2)
    write_scaled(models, "unknown", 2, backend="nowhere")
    folders = ("--backend-directory", str(first), "--backend-directory", str(second))
    server = serve(models, options=(*folders, "--model-control-mode=explicit", "--load-model=mine"))
    assert scaled(server, "mine", [4]) == [8]
    assert "ImportError: second" in ask(server, "POST", "/v2/repository/models/broken/load").error
    refused = ask(server, "POST", "/v2/repository/models/unknown/load").error
    assert "unable to find backend 'nowhere': expected nowhere/model.py in a backend directory" in refused
    assert "(searched: first, second, backends;" in refused, "folders are for the log alone"
    server.wait_log(f"searched: {first}")
    assert "--backend-directory adds more" in index(server)["unknown", "1"]["reason"]
