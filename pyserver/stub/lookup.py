"""The helper functions of pb_utils: finding tensors and configs by name, BYTES to and from arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyserver.stub import bytes_codec
from pyserver.stub.request import InferenceRequest
from pyserver.stub.response import InferenceResponse
from pyserver.stub.tensor import Tensor


def get_input_tensor_by_name(inference_request: InferenceRequest, name: str) -> Tensor | None:
    """The input of that name, or None."""
    for tensor in inference_request.inputs():
        if tensor._name == name:
            return tensor
    return None


def get_output_tensor_by_name(inference_response: InferenceResponse, name: str) -> Tensor | None:
    """The output of that name, or None."""
    for tensor in inference_response.output_tensors():
        if tensor._name == name:
            return tensor
    return None


def get_input_config_by_name(model_config: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The entry of that name among the config's inputs, or None."""
    return _named(model_config, "input", name)


def get_output_config_by_name(model_config: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The entry of that name among the config's outputs, or None."""
    return _named(model_config, "output", name)


def using_decoupled_model_transaction_policy(model_config: dict[str, Any]) -> bool:
    """Whether the config says that the model is decoupled."""
    return bool(model_config.get("model_transaction_policy", {}).get("decoupled", False))


def serialize_byte_tensor(input_tensor: np.ndarray[Any, Any]) -> bytes | tuple[()] | None:
    """The elements of an array of objects or bytes behind their lengths; () of an empty array, None of other dtypes."""
    if input_tensor.size == 0:
        return ()
    return bytes_codec.pack(input_tensor) if input_tensor.dtype.kind in "OS" else None


def deserialize_bytes_tensor(encoded_tensor: bytes) -> np.ndarray[Any, Any]:
    """The elements as a 1-D array of bytes objects. ValueError where the bytes end within one."""
    return bytes_codec.unpack_flat(bytes(encoded_tensor), -1)


def _named(model_config: dict[str, Any], kind: str, name: str) -> dict[str, Any] | None:
    for entry in model_config.get(kind, ()):
        if entry["name"] == name:
            return entry  # type: ignore[no-any-return]
    return None
