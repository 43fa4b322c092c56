"""Gives INPUT back and says, in each row of REQUESTS, how many requests were executed together."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request, len(requests)) for request in requests]

    def answer(self, request, together):
        rows = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
        count = np.full((len(rows), 1), together, np.int32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", rows), pb_utils.Tensor("REQUESTS", count)])
