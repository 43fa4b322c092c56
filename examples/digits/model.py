"""A multi-layer perceptron in numpy: pixels in, the probability of each digit out."""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        folder = Path(args["model_repository"], args["model_version"])
        with np.load(str(folder / "weights.npz"), allow_pickle=False) as arrays:
            self.layers = [(arrays[f"weights_{n}"], arrays[f"biases_{n}"]) for n in range(len(arrays.files) // 2)]

    def execute(self, requests):
        """One pass of the network for all the requests that were batched together."""
        rows = [pb_utils.get_input_tensor_by_name(request, "pixels").as_numpy() for request in requests]
        probabilities = self.forward(np.concatenate(rows))
        borders = np.cumsum([len(part) for part in rows])[:-1]
        parts = np.split(probabilities, borders)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("probabilities", part)]) for part in parts]

    def forward(self, values):
        for weights, biases in self.layers[:-1]:
            values = np.maximum(values @ weights + biases, 0)
        weights, biases = self.layers[-1]
        logits = values @ weights + biases
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
