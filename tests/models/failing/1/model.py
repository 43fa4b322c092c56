"""Fails in the way it is asked to: raising, answering with an error of some code, or by a wrong answer."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        how = pb_utils.get_input_tensor_by_name(requests[0], "HOW").as_numpy()[0].decode()
        if how == "raise":
            raise ValueError("no such luck")
        if how == "exit":
            raise SystemExit(7)
        if how == "tuple":
            return tuple(requests)
        if how == "too few":
            return []
        if how == "not a response":
            return ["an answer" for _ in requests]
        error = pb_utils.TritonError(f"refused as {how}", getattr(pb_utils.TritonError, how))
        return [pb_utils.InferenceResponse(error=error) for _ in requests]
