"""ONNX models: a backend in Triton's sense, a `TritonPythonModel` for every folder that holds a model.onnx.

Requests that come together and have the same shapes run as one batch. Runs under CPython 3.8 and needs onnxruntime
and numpy in the model's environment, nothing else.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from onnx_graph import Tensor, can_batch, check, dims_of, inputs_of, open_session, outputs_of
from onnx_options import providers, session_options
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

Arrays = Dict[str, "np.ndarray[Any, Any]"]

# What Triton's onnxruntime backend gives a model that can batch and whose configuration doesn't say how much.
DEFAULT_MAX_BATCH_SIZE = 4

_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


class RefusedError(Exception):
    """A request that can't be run; the text is for its client."""


class TritonPythonModel:
    """One instance of one ONNX model."""

    @staticmethod
    def auto_complete_config(config: Any) -> Any:
        """Add the graph's inputs and outputs, and batching where the graph allows it.

        It does if every input and output has a first dimension of any size, unless the configuration gives a tensor
        with all dimensions of the graph's. ValueError if the configuration contradicts the graph.
        """
        values = config.as_dict()
        name = values.get("name", "")
        path = Path(pb_utils.get_model_dir()) / (values.get("default_model_filename") or "model.onnx")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = open_session(name, path, options, ["CPUExecutionProvider"])
        inputs, outputs = inputs_of(name, session), outputs_of(name, session)
        largest = values.get("max_batch_size", 0)
        if largest == 0 and can_batch(values, [*inputs, *outputs]):
            largest = DEFAULT_MAX_BATCH_SIZE
            config.set_max_batch_size(largest)
            if not {"sequence_batching", "ensemble_scheduling", "dynamic_batching"} & values.keys():
                config.set_dynamic_batching()
        for tensors, known, add in (
            (inputs, values.get("input", []), config.add_input),
            (outputs, values.get("output", []), config.add_output),
        ):
            whole = {entry["name"] for entry in known if entry.get("dims")}
            for tensor in tensors:
                if tensor.name not in whole:
                    add({"name": tensor.name, "data_type": tensor.data_type, "dims": dims_of(tensor, largest)})
        return config

    def initialize(self, args: Dict[str, str]) -> None:
        """Load the model. ValueError if it can't be, or if the configuration contradicts it."""
        config = json.loads(args["model_config"])
        self._name = args.get("model_name") or config["name"]
        self._max_batch_size = int(config.get("max_batch_size", 0))
        path = Path(args["model_repository"]) / args["model_version"]
        path /= config.get("default_model_filename") or "model.onnx"
        options = session_options(self._name, config)
        self._session = open_session(self._name, path, options, providers(self._name, config, args))
        self._inputs = inputs_of(self._name, self._session)
        self._outputs = outputs_of(self._name, self._session)
        check(self._name, "input", config.get("input", []), self._inputs, self._max_batch_size)
        self._padded = check(self._name, "output", config.get("output", []), self._outputs, self._max_batch_size)
        types = {tensor.data_type for tensor in (*self._inputs, *self._outputs)}
        self._has_bfloat = "TYPE_BF16" in types
        if self._has_bfloat and ("TYPE_STRING" in types or not hasattr(onnxruntime.OrtValue, "from_dlpack")):
            version = onnxruntime.__version__
            raise ValueError(f"model '{self._name}': onnxruntime {version} can't run these tensors: {sorted(types)}")

    def execute(self, requests: List[Any]) -> List[Any]:
        """Answer every request, or say what is wrong with it; requests with the same shapes share a run."""
        answers: List[Any] = [None] * len(requests)
        groups: Dict[Any, List[Tuple[int, Arrays]]] = {}
        for number, request in enumerate(requests):
            try:
                arrays = self._arrays(request)
            except RefusedError as refused:
                answers[number] = self._error(str(refused), pb_utils.TritonError.INVALID_ARG)
                continue
            groups.setdefault(self._key(number, arrays), []).append((number, arrays))
        for members in groups.values():
            self._answer(requests, members, answers)
        return answers

    def finalize(self) -> None:
        """Let the session go."""
        self._session = None

    def _answer(self, requests: List[Any], members: List[Tuple[int, Arrays]], answers: List[Any]) -> None:
        names = self._wanted([requests[number] for number, _ in members])
        try:
            rows = [self._rows(arrays) for _, arrays in members]
            outputs = self._run(names, _joined([arrays for _, arrays in members]))
            parts = self._parts(names, outputs, rows)
        except Exception as error:  # What onnxruntime raises has no base class of its own.
            if len(members) > 1:  # Whoever is to blame, the others get their answers.
                for member in members:
                    self._answer(requests, [member], answers)
                return
            codes = pb_utils.TritonError
            code = codes.INVALID_ARG if isinstance(error, (InvalidArgument, RefusedError)) else codes.INTERNAL
            answers[members[0][0]] = self._error(str(error), code)
            return
        for place, (number, _) in enumerate(members):
            tensors = [self._tensor(tensor, part[place]) for tensor, part in zip(names, parts)]
            answers[number] = pb_utils.InferenceResponse(output_tensors=tensors)

    def _arrays(self, request: Any) -> Arrays:
        arrays: Arrays = {}
        for tensor in self._inputs:
            given = pb_utils.get_input_tensor_by_name(request, tensor.name)
            if given is None:
                continue  # Optional, or else onnxruntime names it.
            if tensor.data_type == "TYPE_BF16":
                array = _bits(onnxruntime.OrtValue.from_dlpack(given))
            else:
                array = given.as_numpy()
            if tensor.data_type == "TYPE_STRING":
                array = _texts(tensor.name, array)
            if array.ndim == len(tensor.shape) + 1 and array.shape[-1] == 1:
                array = array.reshape(array.shape[:-1])  # A scalar, for which the protocol has [1].
            arrays[tensor.name] = array
        return arrays

    def _key(self, number: int, arrays: Arrays) -> Any:
        """Return what the requests of one run have in common."""
        if self._max_batch_size == 0 or not all(array.ndim for array in arrays.values()):
            return number
        return tuple((name, array.dtype, array.shape[1:]) for name, array in arrays.items())

    def _rows(self, arrays: Arrays) -> int:
        """Return the batch size of a request; 1 where there is no batch dimension."""
        if self._max_batch_size == 0:
            return 1
        rows = {name: array.shape[0] if array.ndim else 1 for name, array in arrays.items()}
        if len(set(rows.values())) > 1:
            raise RefusedError(f"inputs differ in their first dimension, the batch: {rows}")
        return next(iter(rows.values()), 1)

    def _wanted(self, requests: List[Any]) -> List[Tensor]:
        names = {name for request in requests for name in request.requested_output_names()}
        return [tensor for tensor in self._outputs if tensor.name in names] or self._outputs

    def _run(self, wanted: List[Tensor], arrays: Arrays) -> List[Any]:
        names = [tensor.name for tensor in wanted]
        if not self._has_bfloat:
            return list(self._session.run(names, arrays))
        types = {tensor.name: tensor.data_type for tensor in self._inputs}
        values = {name: _value(array, types[name]) for name, array in arrays.items()}
        found = self._session.run_with_ort_values(names, values)
        return [
            _bits(value) if tensor.data_type == "TYPE_BF16" else value.numpy() for tensor, value in zip(wanted, found)
        ]

    def _parts(self, wanted: List[Tensor], outputs: List[Any], rows: List[int]) -> List[List[Any]]:
        """Cut every output into those of the requests."""
        if self._max_batch_size == 0:
            return [[output] for output in outputs]
        ends = np.cumsum(rows)
        for tensor, output in zip(wanted, outputs):
            if not output.shape or output.shape[0] != ends[-1]:
                raise ValueError(
                    f"output '{tensor.name}' has shape {list(output.shape)} for a batch of {ends[-1]},"
                    f" expected {ends[-1]} as its first dimension: the model does not batch, set max_batch_size 0"
                )
        return [np.split(output, ends[:-1]) for output in outputs]

    def _tensor(self, tensor: Tensor, array: Any) -> Any:
        if tensor.name in self._padded:
            array = array.reshape((*array.shape, 1))
        if tensor.data_type == "TYPE_BF16":
            value = _value(np.ascontiguousarray(array), tensor.data_type)
            return pb_utils.Tensor.from_dlpack(tensor.name, value._get_c_value().to_dlpack())
        return pb_utils.Tensor(tensor.name, array)

    def _error(self, message: str, code: Any) -> Any:
        text = f"model '{self._name}': {message}"
        return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(text, code))


def _joined(arrays: List[Arrays]) -> Arrays:
    if len(arrays) == 1:
        return arrays[0]
    return {name: np.concatenate([one[name] for one in arrays]) for name in arrays[0]}


def _texts(name: str, array: Any) -> Any:
    try:
        texts = [element.decode() if isinstance(element, bytes) else str(element) for element in array.flat]
    except UnicodeDecodeError as error:
        raise RefusedError(f"input '{name}' has an element that is not UTF-8: {error}") from None
    made = np.empty(len(texts), np.object_)
    made[:] = texts
    return made.reshape(array.shape)


def _bits(value: Any) -> Any:
    """Return a copy of a BF16 tensor's bits as UINT16, numpy having no dtype for it."""
    shape = tuple(value.shape())
    if 0 in shape:
        return np.empty(shape, np.uint16)
    size = int(np.prod(shape, dtype=np.int64)) * 2
    memory = (ctypes.c_char * size).from_address(value.data_ptr())
    return np.frombuffer(memory, np.uint16).reshape(shape).copy()


def _value(array: Any, data_type: str) -> Any:
    if data_type == "TYPE_BF16":
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
