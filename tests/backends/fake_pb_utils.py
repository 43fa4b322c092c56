"""Just enough of triton_python_backend_utils for a backend that is called by hand."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

import numpy as np

model_dir = ""


def get_model_dir() -> str:
    return model_dir


class Tensor:
    def __init__(self, name: str, array: np.ndarray[Any, Any]) -> None:
        assert array.dtype.kind in "biufO"
        self._name = name
        self._array: Any = array

    @staticmethod
    def from_dlpack(name: str, source: Any) -> Tensor:
        import onnxruntime

        tensor = Tensor(name, np.empty(0))
        tensor._array = onnxruntime.OrtValue.from_dlpack(source)
        return tensor

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> Any:
        return self._array

    def __dlpack__(self, **_: Any) -> Any:
        return self._array._get_c_value().to_dlpack()


class TritonError:
    class Code(enum.Enum):
        INTERNAL = 1
        INVALID_ARG = 3

    INTERNAL = Code.INTERNAL
    INVALID_ARG = Code.INVALID_ARG

    def __init__(self, message: str, code: Code = Code.INTERNAL) -> None:
        self.message = message
        self.code = code


@dataclass
class InferenceResponse:
    output_tensors: list[Tensor] = field(default_factory=list)
    error: TritonError | None = None


@dataclass
class InferenceRequest:
    inputs: list[Tensor]
    outputs: list[str]

    def requested_output_names(self) -> set[str]:
        return set(self.outputs)


def get_input_tensor_by_name(request: InferenceRequest, name: str) -> Tensor | None:
    return next((tensor for tensor in request.inputs if tensor.name() == name), None)


class ModelConfig:
    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def as_dict(self) -> dict[str, Any]:
        return self._values

    def set_max_batch_size(self, size: int) -> None:
        self._values["max_batch_size"] = size

    def set_dynamic_batching(self) -> None:
        self._values["dynamic_batching"] = {}

    def add_input(self, entry: dict[str, Any]) -> None:
        self._add("input", entry)

    def add_output(self, entry: dict[str, Any]) -> None:
        self._add("output", entry)

    def _add(self, kind: str, entry: dict[str, Any]) -> None:
        for known in self._values.setdefault(kind, []):
            if known["name"] == entry["name"]:
                known.update(entry)
                return
        self._values[kind].append(entry)
