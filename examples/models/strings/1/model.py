"""Texts in; upper case, length in bytes, and the texts themselves out."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        texts = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()  # an array of bytes objects
        upper = [text.decode("utf-8", "replace").upper().encode("utf-8") for text in texts.ravel()]
        lengths = [len(text) for text in texts.ravel()]
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("UPPER", np.array(upper, np.object_).reshape(texts.shape)),
                pb_utils.Tensor("LENGTH", np.array(lengths, np.int32).reshape(texts.shape)),
                pb_utils.Tensor("ECHO", texts),
            ]
        )
