"""Models that the tests of the stub run, written as users write them."""

import textwrap

IDENTITY = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            tensors = [pb_utils.Tensor("OUT_" + t.name(), t.as_numpy()) for t in request.inputs()]
            responses.append(pb_utils.InferenceResponse(output_tensors=tensors))
        return responses
"""

ADD_SUB = """
import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        names = [entry["name"] for entry in config.as_dict()["input"]]
        for name in ("INPUT0", "INPUT1"):
            if name not in names:
                config.add_input({"name": name, "data_type": "TYPE_FP32", "dims": [4]})
        for name in ("OUTPUT0", "OUTPUT1"):
            config.add_output({"name": name, "data_type": "TYPE_FP32", "dims": [4]})
        config.set_max_batch_size(8)
        config.set_dynamic_batching()
        return config

    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.dtypes = {}
        for name in ("OUTPUT0", "OUTPUT1"):
            found = pb_utils.get_output_config_by_name(config, name)
            self.dtypes[name] = pb_utils.triton_string_to_numpy(found["data_type"])

    def execute(self, requests):
        responses = []
        for request in requests:
            a = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
            b = pb_utils.get_input_tensor_by_name(request, "INPUT1").as_numpy()
            sums = pb_utils.Tensor("OUTPUT0", (a + b).astype(self.dtypes["OUTPUT0"]))
            differences = pb_utils.Tensor("OUTPUT1", (a - b).astype(self.dtypes["OUTPUT1"]))
            responses.append(pb_utils.InferenceResponse([sums, differences]))
        return responses

    def finalize(self):
        print("add_sub is done")
"""

STRINGS = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        words = pb_utils.get_input_tensor_by_name(request, "WORDS").as_numpy()
        upper = np.array([word.decode("utf-8").upper() for word in words.flat], dtype=object).reshape(words.shape)
        fixed = np.array([word[:3] for word in words.flat], dtype="S3")
        return pb_utils.InferenceResponse([pb_utils.Tensor("UPPER", upper), pb_utils.Tensor("FIXED", fixed)])
"""

BODY = """
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    {keyword} execute(self, requests):
        {body}
"""


def body(source: str, keyword: str = "def") -> str:
    """A model of which only execute's body is of interest."""
    lines = textwrap.dedent(source).strip().splitlines()
    return BODY.format(keyword=keyword, body="\n        ".join(lines))
