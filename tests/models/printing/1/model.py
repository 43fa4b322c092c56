"""Says TEXT in all the ways a model can."""

import logging
import sys

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        text = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
        said = text[0].decode()
        print(f"stdout {said}", flush=True)
        print(f"stderr {said}", file=sys.stderr, flush=True)
        logging.getLogger("model").warning("logging %s", said)
        pb_utils.Logger.log_info(f"logger {said}")
        return pb_utils.InferenceResponse([pb_utils.Tensor("TEXT", text)])
