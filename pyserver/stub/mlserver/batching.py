"""Several requests as one, and its response as several, by the rules of MLServer's adaptive batching.

The server batches only requests of the same inputs (name, datatype, shape but for rows), content types, requested
outputs and parameters beside headers; so their data can be put together whatever they are.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from pyserver.stub.mlserver.answered import parameters_of
from pyserver.stub.mlserver.built import ArraySource, built, lazy_data, lazy_kind, source_of
from pyserver.stub.mlserver.received import Received

_KEPT = ("content_type", "headers")


class _Gathered(ArraySource):
    """The elements of several inputs; `text` as those of the first."""

    __slots__ = ("text",)

    def __init__(self, array: np.ndarray[Any, Any], text: bool) -> None:
        super().__init__(array)
        self.text = text

    def listed(self) -> List[Any]:
        """The elements, flat."""
        flat = self.array().ravel().tolist()
        return [item.decode() for item in flat] if self.text and self.array().dtype.kind == "O" else flat


def rows(read: Received) -> int:
    """How many rows a request has: the first dim of its first input."""
    return int(read.payload.inputs[0].shape[0])


def merged(read: Sequence[Received], types: Any) -> Any:
    """The request of all: rows side by side; of parameters that inputs differ in a list, of others the last."""
    first = read[0].payload
    inputs = [_merged_input([one.payload.inputs[at] for one in read], types) for at in range(len(first.inputs))]
    parameters: Dict[str, Any] = {}
    for one in read:
        parameters.update(parameters_of(one.payload))
    values = {"id": None, "parameters": _parameters(parameters, types), "inputs": inputs, "outputs": first.outputs}
    return built(types.InferenceRequest, values, {"parameters", "inputs", "outputs"})


def _merged_input(inputs: List[Any], types: Any) -> Any:
    first = inputs[0]
    array = np.concatenate([source_of(found.data).array() for found in inputs])
    data = lazy_data(lazy_kind(types.TensorData), _Gathered(array, source_of(first.data).text))
    values = {
        "name": first.name,
        "shape": list(array.shape),
        "datatype": first.datatype,
        "parameters": _parameters(_joined([parameters_of(found) for found in inputs]), types),
        "data": data,
    }
    return built(types.RequestInput, values)


def _joined(said: List[Dict[str, Any]]) -> Dict[str, Any]:
    """What one request alone says stays as it is; what several say becomes a list in their order."""
    names = list(dict.fromkeys(name for own in said for name in own))
    joined: Dict[str, Any] = {}
    for name in names:
        values = [own[name] for own in said if name in own]
        joined[name] = values[0] if name in _KEPT or len(values) == 1 else values
    return joined


def _parameters(said: Dict[str, Any], types: Any) -> Optional[Any]:
    if not said:
        return None
    fields = {name: said.get(name) for name in _KEPT}
    extra = {name: value for name, value in said.items() if name not in _KEPT}
    return built(types.Parameters, fields, set(said), extra)


def split(read: Sequence[Received], response: Any, types: Any) -> List[Any]:
    """The response to each. ValueError where an output has not as many rows as the batch."""
    counts = [rows(one) for one in read]
    starts = [sum(counts[:at]) for at in range(len(counts))]
    parts = [_parts(output, starts, counts, types) for output in response.outputs]
    made = []
    for at in range(len(read)):
        values = {
            "model_name": response.model_name,
            "model_version": response.model_version,
            "id": None,
            "parameters": response.parameters,
            "outputs": [part[at] for part in parts],
        }
        made.append(built(types.InferenceResponse, values))
    return made


def _parts(output: Any, starts: List[int], counts: List[int], types: Any) -> List[Any]:
    total = sum(counts)
    if not output.shape or int(output.shape[0]) != total:
        raise ValueError(f"output '{output.name}' has shape {list(output.shape)}, the batch has {total} rows")
    source = source_of(output.data)
    elements: Any = source.array().reshape(output.shape) if source is not None else _flat(output, total)
    said = parameters_of(output)
    parts = []
    for start, count in zip(starts, counts):
        part = elements[start : start + count]
        data = (
            built(types.TensorData, {"root": [item for row in part for item in row]})
            if source is None
            else lazy_data(lazy_kind(types.TensorData), ArraySource(part))
        )
        values = {
            "name": output.name,
            "shape": [count, *output.shape[1:]],
            "datatype": output.datatype,
            "parameters": _parameters(_of_row(said, start), types),
            "data": data,
        }
        parts.append(built(types.ResponseOutput, values))
    return parts


def _flat(output: Any, total: int) -> List[List[Any]]:
    """The elements of a list, a list for each row."""
    root = output.data.root
    if not isinstance(root, list) or not total or len(root) % total:
        raise ValueError(f"output '{output.name}' has data that can't be cut into {total} rows")
    width = len(root) // total
    return [root[at : at + width] for at in range(0, len(root), width)] if width else [[]] * total


def _of_row(said: Dict[str, Any], row: int) -> Dict[str, Any]:
    """What a batch's output says of one request: of lists the text at its first row, if they reach so far."""
    own: Dict[str, Any] = {}
    for name, value in said.items():
        if name in _KEPT or not isinstance(value, list):
            own[name] = value
        elif row < len(value):
            own[name] = str(value[row])
    return own
