"""Without a config.pbtxt: says itself what it takes and gives. Upper-cases its text."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.set_max_batch_size(4)
        config.set_dynamic_batching()
        config.add_input({"name": "TEXT", "data_type": "TYPE_STRING", "dims": [1]})
        config.add_output({"name": "UPPER", "data_type": "TYPE_STRING", "dims": [1]})
        return config

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        texts = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
        upper = np.array([text.upper() for text in texts.ravel()], np.object_).reshape(texts.shape)
        return pb_utils.InferenceResponse([pb_utils.Tensor("UPPER", upper)])
