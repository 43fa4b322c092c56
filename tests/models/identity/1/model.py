"""Gives every input back, as NAME_OUT: one optional input for each datatype."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        inputs = sorted(request.inputs(), key=lambda tensor: tensor.name())  # Triton's own order is arbitrary
        return pb_utils.InferenceResponse([same(tensor) for tensor in inputs])


def same(tensor):
    name = f"{tensor.name()}_OUT"
    if tensor.name() == "BF16":  # numpy has no such type
        return pb_utils.Tensor.from_dlpack(name, tensor.to_dlpack())
    return pb_utils.Tensor(name, tensor.as_numpy())
