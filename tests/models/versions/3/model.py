"""Version 3 of a model that tells its version."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        version = pb_utils.Tensor("VERSION", np.array([3], np.int32))
        return [pb_utils.InferenceResponse([version]) for _ in requests]
