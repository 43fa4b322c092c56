"""Ends its own process in the way it is asked to; "no" answers with the process id."""

import os
import signal
import sys

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        how = pb_utils.get_input_tensor_by_name(requests[0], "HOW").as_numpy()[0].decode()
        if how != "no":
            print(f"about to end by {how}", file=sys.stderr, flush=True)
        if how == "exit":
            os._exit(3)
        if how.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, how))
        pid = pb_utils.Tensor("PID", np.array([os.getpid()], np.int64))
        return [pb_utils.InferenceResponse([pid]) for _ in requests]
