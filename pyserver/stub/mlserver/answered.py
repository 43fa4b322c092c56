"""`InferenceResponse` -> the tensors of an answer, and the envelope that says the rest."""

from __future__ import annotations

import functools
import json
import math
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from pyserver.ipc import envelope
from pyserver.stub.dtypes import BY_DATATYPE, DATATYPE_OF
from pyserver.stub.mlserver.built import source_of
from pyserver.stub.response import InferenceResponse
from pyserver.stub.tensor import Tensor

_TAKES = {"BOOL": "b", "FP16": "iuf", "FP32": "iuf", "FP64": "iuf"}
_DECODED = "_decoded_payload"
_FIELDS = ("content_type", "headers")


class Text(Tensor):
    """JSON text in the place of a tensor's elements; or the envelope."""

    __slots__ = ("_text",)

    def __init__(self, name: str, text: bytes) -> None:
        self._name = name
        self._datatype = envelope.DATATYPE
        self._array = None
        self._text = text

    def _packed(self) -> Tuple[Any, Any, int]:
        return (self._name, self._datatype, envelope.SHAPE), self._text, len(self._text)


def answer(response: Any, typed: bool = False) -> InferenceResponse:
    """What the stub sends for a response; TypeError for what can't be one."""
    outputs = response.outputs
    tensors: List[Any] = [_tensor(output) for output in outputs]
    if response.parameters is None and None not in tensors:
        types = tuple([_content_type(output.parameters) for output in outputs])
        if None not in types and type(response.model_name) is str:
            tensors.append(_brief(response.model_name, response.model_version, typed, types))
            return InferenceResponse(tensors)
    return _full(response, tensors, typed)


@functools.lru_cache(1024, typed=True)
def _brief(name: str, version: Any, typed: bool, types: Tuple[str, ...]) -> Text:
    """The envelope that says nothing but content types, "" for none: the same text each time."""
    outputs = [{"parameters": {"content_type": content_type}} if content_type else {} for content_type in types]
    rest: Dict[str, Any] = {"model_name": name}
    if version is not None:
        rest["model_version"] = version
    if typed:
        rest["typed"] = True
    if any(outputs):
        rest["outputs"] = outputs
    return Text(envelope.NAME, envelope.pack(b"", dumped(rest)))


def _content_type(parameters: Any) -> Optional[str]:
    """The content type, "" for none; None where an output says more than that."""
    if parameters is None:
        return ""
    held = {} if isinstance(parameters, dict) else parameters.__dict__
    if len(held) != len(_FIELDS) or parameters.__pydantic_extra__ or held.get("headers") is not None:
        return None
    content_type = held.get("content_type", 0)
    return content_type if type(content_type) is str else "" if content_type is None else None


def _full(response: Any, tensors: List[Any], typed: bool) -> InferenceResponse:
    """The answer with all that is said; `tensors` are None where data are JSON."""
    said = []
    for at, output in enumerate(response.outputs):
        tensors[at], own = _output(output, tensors[at])
        said.append(own)
    rest: Dict[str, Any] = {"model_name": response.model_name}
    if response.model_version is not None:
        rest["model_version"] = response.model_version
    parameters = parameters_of(response)
    headers = parameters.pop("headers", None)
    if parameters:
        rest["parameters"] = parameters
    if headers:
        rest["headers"] = {str(name): str(value) for name, value in headers.items()}
    if typed:
        rest["typed"] = True
    if any(said):
        rest["outputs"] = said
    tensors.append(Text(envelope.NAME, envelope.pack(b"", dumped(rest))))
    return InferenceResponse(tensors)


def parameters_of(parametrised: Any) -> Dict[str, Any]:
    """The parameters that are there: a new dict."""
    parameters = parametrised.parameters
    if parameters is None:
        return {}
    if isinstance(parameters, dict):
        return dict(parameters)
    found = {name: value for name, value in parameters.__dict__.items() if value is not None and name != _DECODED}
    found.update(parameters.__pydantic_extra__ or {})
    return found


def dumped(value: Any) -> bytes:
    """JSON; bytes as text, numbers that are not finite as null, and whatever else has no JSON as its text."""
    try:
        return json.dumps(value, default=_plain, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(value), default=_plain, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode()
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "model_dump"):
        return value.model_dump()
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return _finite(value.tolist()) if hasattr(value, "tolist") else value


def _tensor(output: Any) -> Optional[Tensor]:
    """The tensor of an output; None where its data are none, and go as JSON."""
    source = source_of(output.data)
    array = None if source is not None and source.nested else _array(output, source)
    return None if array is None else Tensor(output.name, array)


def _output(output: Any, tensor: Optional[Tensor]) -> Tuple[Tensor, Dict[str, Any]]:
    """The tensor of an output, or its text, and what the envelope says of it: nothing, mostly."""
    own: Dict[str, Any] = {}
    if output.parameters is not None:
        parameters = parameters_of(output)
        if parameters:
            own["parameters"] = parameters
    if tensor is not None:
        return tensor, own
    own.update(json=True, datatype=str(output.datatype), shape=[int(size) for size in output.shape])
    return Text(output.name, dumped(output.data.root)), own


def _array(output: Any, source: Any) -> Any:
    """The elements as an array in the output's shape; None where they aren't what datatype and shape say."""
    array = _from_list(output) if source is None else source.array()
    dtype = BY_DATATYPE.get(output.datatype)
    if array is not None and array.dtype == dtype and dtype.kind != "O" and array.shape == tuple(output.shape):
        return array  # as almost always
    if array is None or dtype is None or array.size != math.prod(output.shape):
        return None
    kind = array.dtype.kind
    if output.datatype == "BYTES":
        if kind == "O" and not _are_strings(array):
            return None
        return array.reshape(output.shape) if kind in "OSUT" else None
    if array.dtype != dtype:
        if kind not in _TAKES.get(output.datatype, "iu"):
            return None
        made = array.astype(dtype)
        if dtype.kind in "iu" and (made != array).any():
            return None
        array = made
    return array.reshape(output.shape)


def _are_strings(array: Any) -> bool:
    return all(isinstance(item, (bytes, str)) for item in array.ravel().tolist())


def _from_list(output: Any) -> Any:
    """The array of a flat list; None for anything else."""
    root = output.data.root
    if not isinstance(root, list):
        return root if isinstance(root, np.ndarray) else None
    if output.datatype == "BYTES":
        if any(isinstance(item, (list, dict)) for item in root):
            return None
        array = np.empty(len(root), object)
        array[:] = root
        return array
    if not root:
        return np.empty(0, BY_DATATYPE.get(output.datatype, np.float64))
    try:
        array = np.array(root)
        if array.dtype.kind == "O" and "FP" in str(output.datatype):
            array = np.array(root, np.float64)
    except (ValueError, TypeError):
        return None
    return array if array.ndim == 1 and array.dtype in DATATYPE_OF and array.dtype.kind in "biuf" else None
