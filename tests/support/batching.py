"""Models and helpers for the tests of batches, sequences, deadlines and warm-up."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support.clients import Answer, infer_json, tensor
from tests.support.repositories import write_model
from tools.process import ServerProcess

ROWS = """
import json
import time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.began = time.monotonic()
        parameters = json.loads(args["model_config"])["parameters"]
        self.seconds = float(parameters.get("SECONDS", {"string_value": "0"})["string_value"])

    def execute(self, requests):
        values = [pb_utils.get_input_tensor_by_name(request, "X").as_numpy().ravel().tolist() for request in requests]
        print("executes", values, flush=True)
        if any(13 in row for row in values):
            raise ValueError("thirteen")
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            for row, request in zip(values, requests):
                if request.is_cancelled():
                    print("cancelled", row, round(time.time(), 3), flush=True)
                    until = 0
            time.sleep(0.002)
        return [self.answer(request, len(requests)) for request in requests]

    def answer(self, request, together):
        inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        x = inputs["X"]
        addresses = [tensor.as_numpy().__array_interface__["data"][0] for tensor in request.inputs()]
        return pb_utils.InferenceResponse([
            pb_utils.Tensor("Y", x),
            pb_utils.Tensor("TOGETHER", np.full((len(x), 1), together, np.int32)),
            pb_utils.Tensor("ADDRESS", np.full((len(x), 1), addresses[0], np.int64)),
        ])
"""
OUTPUTS = """
output { name: "Y" data_type: TYPE_INT32 dims: [ -1 ] }
output { name: "TOGETHER" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "ADDRESS" data_type: TYPE_INT64 dims: [ 1 ] }
"""


def write_rows(
    repository: Path, name: str, config: str, seconds: float = 0.0, inputs: str | None = None, batch: int = 8
) -> Path:
    """A model that says with how many others each request was executed, and takes `seconds`; 13 makes it raise."""
    text = f'backend: "python" max_batch_size: {batch}\n'
    text += inputs or 'input { name: "X" data_type: TYPE_INT32 dims: [ 1 ] }'
    text += OUTPUTS + config
    text += f'\nparameters {{ key: "SECONDS" value {{ string_value: "{seconds}" }} }}\n'
    return write_model(repository, name, ROWS, text)


def ask_rows(server: ServerProcess, model: str, *values: int, batched: bool = True, **parameters: Any) -> Answer:
    """Ask such a model for one row of `values`."""
    shape = [1, len(values)] if batched else [len(values)]
    return infer_json(server, model, {"inputs": [tensor("X", "INT32", shape, list(values))], "parameters": parameters})


def outputs(answer: Answer) -> dict[str, Any]:
    """The first value of each output."""
    assert answer.status == 200, answer
    return {output["name"]: output["data"][0] for output in answer.json["outputs"]}


def together(pool: ThreadPoolExecutor, server: ServerProcess, model: str, *values: int) -> list[Future[Answer]]:
    """Ask for each of `values` at once."""
    return [pool.submit(ask_rows, server, model, value) for value in values]


def statistics(server: ServerProcess, model: str) -> dict[str, Any]:
    """A model's statistics."""
    found: dict[str, Any] = json.loads(server.get(f"/v2/models/{model}/stats")[1])["model_stats"][0]
    return found


def executed(server: ServerProcess) -> list[str]:
    """What the models of `write_rows` have executed, as they say."""
    return [line.partition("executes ")[2] for line in server.lines if "executes [" in line]
