"""Trains a classifier of handwritten digits and writes it as two models: python train.py REPOSITORY."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).parent
PIXELS, DIGITS, HIDDEN = 64, 10, 64
OPSET = 17

CONFIG = f"""
max_batch_size: 64
input {{ name: "pixels" data_type: TYPE_FP32 dims: [ {PIXELS} ] }}
output {{ name: "probabilities" data_type: TYPE_FP32 dims: [ {DIGITS} ] }}
dynamic_batching {{ }}
"""


class HeldBack(NamedTuple):
    """Images that the classifier has never seen, FP32 [n, 64], and the digits they show, [n]."""

    images: np.ndarray[Any, Any]
    digits: np.ndarray[Any, Any]


def train(repository: Path) -> HeldBack:
    """Train, write `digits_python` and `digits_onnx` into `repository`, and return what was held back."""
    images, digits = load_digits(return_X_y=True)
    images = images.astype(np.float32)
    seen, unseen, seen_digits, unseen_digits = train_test_split(
        images, digits, test_size=0.25, random_state=0, stratify=digits
    )
    classifier = MLPClassifier((HIDDEN,), max_iter=400, random_state=0).fit(seen, seen_digits)
    write_python(repository / "digits_python", classifier)
    write_onnx(repository / "digits_onnx", classifier)
    return HeldBack(unseen, unseen_digits)


def write_python(model: Path, classifier: MLPClassifier) -> None:
    """The weights as plain arrays beside a model.py."""
    version = write_config(model, "python")
    arrays = {}
    for number, (weights, biases) in enumerate(zip(classifier.coefs_, classifier.intercepts_, strict=True)):
        arrays[f"weights_{number}"] = weights.astype(np.float32)
        arrays[f"biases_{number}"] = biases.astype(np.float32)
    np.savez(version / "weights.npz", **arrays)
    shutil.copy(HERE / "model.py", version / "model.py")


def write_onnx(model: Path, classifier: MLPClassifier) -> None:
    """The same classifier as one ONNX graph."""
    version = write_config(model, "onnxruntime")
    pixels = [("pixels", FloatTensorType([None, PIXELS]))]
    graph = to_onnx(classifier, initial_types=pixels, options={"zipmap": False}, target_opset=OPSET)
    (version / "model.onnx").write_bytes(graph.SerializeToString())


def write_config(model: Path, backend: str) -> Path:
    """Write config.pbtxt; return the folder of version 1."""
    (model / "1").mkdir(parents=True, exist_ok=True)
    (model / "config.pbtxt").write_text(f'backend: "{backend}"{CONFIG}')
    return model / "1"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: train.py REPOSITORY")
    train(Path(sys.argv[1]))
