"""Tells which interpreter and process it runs in, and what initialize was given."""

import json
import os
import platform

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.args = args

    def execute(self, requests):
        texts = {"PYTHON": platform.python_version(), "NUMPY": np.__version__, "ARGS": json.dumps(self.args)}
        tensors = [pb_utils.Tensor(name, np.array([text], np.object_)) for name, text in texts.items()]
        tensors.append(pb_utils.Tensor("PID", np.array([os.getpid()], np.int64)))
        return [pb_utils.InferenceResponse(tensors) for _ in requests]
