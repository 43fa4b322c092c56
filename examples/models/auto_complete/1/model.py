"""Mean and standard deviation of each row; says itself what it takes and gives."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        """Called once, before initialize: adds to the configuration what config.pbtxt leaves out."""
        config.set_max_batch_size(16)
        config.set_dynamic_batching()
        config.add_input({"name": "VALUES", "data_type": "TYPE_FP32", "dims": [-1]})
        config.add_output({"name": "MEAN", "data_type": "TYPE_FP32", "dims": [1]})
        config.add_output({"name": "DEVIATION", "data_type": "TYPE_FP32", "dims": [1]})
        return config

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        rows = pb_utils.get_input_tensor_by_name(request, "VALUES").as_numpy()
        if rows.shape[1] == 0:
            message = "VALUES has no elements: the mean of nothing is not defined"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))
        mean = rows.mean(axis=1, keepdims=True, dtype=np.float32)
        deviation = rows.std(axis=1, keepdims=True, dtype=np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("MEAN", mean), pb_utils.Tensor("DEVIATION", deviation)])
