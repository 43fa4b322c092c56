"""Gives INPUT back after 5 ms, however many rows are asked for together: what batching is worth."""

import time

import triton_python_backend_utils as pb_utils

SECONDS = 0.005


class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy() for request in requests]
        time.sleep(SECONDS)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", rows)]) for rows in inputs]
