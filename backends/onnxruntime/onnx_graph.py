"""What is in an ONNX file: its inputs and outputs, and whether a configuration agrees with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Set, Tuple

import onnxruntime

_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(bfloat16)": "TYPE_BF16",
    "tensor(string)": "TYPE_STRING",
}


class Tensor(NamedTuple):
    """An input or output of the graph: its type as in config.pbtxt, and its shape, -1 for what is not fixed."""

    name: str
    data_type: str
    shape: Tuple[int, ...]


def open_session(name: str, path: Path, options: Any, providers: List[Any]) -> Any:
    """Return the InferenceSession of a file. ValueError says why there is none."""
    if not path.exists():
        raise ValueError(f"model '{name}': model file not found in '{path}'")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # What onnxruntime raises has no base class of its own.
        hint = ""
        if "opset" in str(error).lower() or "IR version" in str(error):
            hint = "; export the model with an older opset, or put a newer onnxruntime into its environment"
        raise ValueError(
            f"model '{name}': onnxruntime {onnxruntime.__version__} can't load '{path}': {error}{hint}"
        ) from None


def inputs_of(name: str, session: Any) -> List[Tensor]:
    """Return the inputs of a session. ValueError for one of a type that the protocol has not."""
    for argument in session.get_inputs():
        if argument.type not in _TYPES:
            raise ValueError(f"model '{name}': input '{argument.name}' is a {argument.type}, which no client can send")
    return _tensors(session.get_inputs())


def outputs_of(name: str, session: Any) -> List[Tensor]:
    """Return the outputs of a session that are tensors, such as the label beside the maps of a classifier.

    ValueError if none is.
    """
    found = [argument for argument in session.get_outputs() if argument.type in _TYPES]
    if not found:
        types = ", ".join(f"'{argument.name}' is a {argument.type}" for argument in session.get_outputs())
        raise ValueError(f"model '{name}': no output is a tensor that a client can receive: {types}")
    return _tensors(found)


def _tensors(arguments: Iterable[Any]) -> List[Tensor]:
    return [
        Tensor(
            argument.name,
            _TYPES[argument.type],
            tuple(size if isinstance(size, int) and size > 0 else -1 for size in argument.shape),
        )
        for argument in arguments
    ]


def can_batch(values: Dict[str, Any], tensors: Sequence[Tensor]) -> bool:
    """Whether every tensor has a first dimension of any size, and no configured one includes it in its dims."""
    if not tensors or not all(tensor.shape[:1] == (-1,) for tensor in tensors):
        return False
    ranks = {tensor.name: len(tensor.shape) for tensor in tensors}
    configured = [*values.get("input", []), *values.get("output", [])]
    return all(not entry.get("dims") or len(entry["dims"]) < ranks.get(entry["name"], 0) for entry in configured)


def dims_of(tensor: Tensor, max_batch_size: int) -> List[int]:
    """Return the dims of a configuration; a scalar, or one value for each row of a batch, has [1]."""
    return list(tensor.shape[1:] if max_batch_size > 0 else tensor.shape) or [1]


def check(name: str, kind: str, entries: List[Dict[str, Any]], tensors: List[Tensor], max_batch_size: int) -> Set[str]:
    """Hold the configuration's inputs or outputs against the graph's. ValueError says where they differ.

    Returns the names of those that have one dimension, of size 1, more than in the graph: see `dims_of`.
    """
    known = {tensor.name: tensor for tensor in tensors}
    for entry in entries:
        if entry["name"] not in known:
            allowed = f"allowed {kind}s are: {', '.join(known)}"
            raise ValueError(f"model '{name}': unexpected inference {kind} '{entry['name']}', {allowed}")
    missing = known.keys() - {entry["name"] for entry in entries}
    if kind == "input" and entries and missing:
        raise ValueError(f"model '{name}': the model configuration has no input {', '.join(sorted(missing))}")
    padded = [entry["name"] for entry in entries if _is_padded(name, kind, entry, known[entry["name"]], max_batch_size)]
    return set(padded)


def _is_padded(name: str, kind: str, entry: Dict[str, Any], tensor: Tensor, max_batch_size: int) -> bool:
    if entry["data_type"] != tensor.data_type:
        raise ValueError(
            f"model '{name}': unexpected datatype {entry['data_type']} for inference {kind} '{tensor.name}',"
            f" expecting {tensor.data_type}"
        )
    batch = [-1] if max_batch_size > 0 else []
    shape = [*batch, *(int(size) for size in entry.get("reshape", {}).get("shape", entry["dims"]))]
    if len(shape) == len(tensor.shape) and all(-1 in pair or pair[0] == pair[1] for pair in zip(shape, tensor.shape)):
        return False
    if shape == [*tensor.shape, 1] and len(tensor.shape) == len(batch):
        return True
    raise ValueError(
        f"model '{name}', tensor '{tensor.name}': the model expects shape {list(tensor.shape)}"
        f" but the model configuration specifies {shape}"
        + (" (the first dimension is the batch, of max_batch_size)" if batch else "")
    )
