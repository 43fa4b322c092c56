"""Several lines as one request, and its answer as several: their inputs row after row, and outputs cut by rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pyserver.cli.infer.lines import Line
from pyserver.cli.infer.tensors import flat


def may_merge(lines: Sequence[Line]) -> bool:
    """Whether these lines can go as one: alike but for their ids, their rows and their data."""
    first = _likeness(lines[0])
    return first is not None and all(_likeness(line) == first for line in lines[1:])


def merged(lines: Sequence[Line]) -> dict[str, Any]:
    """One request of several lines for which `may_merge` holds."""
    documents = [line.document for line in lines]
    inputs = []
    for tensors in zip(*(document["inputs"] for document in documents), strict=True):
        rows = sum(tensor["shape"][0] for tensor in tensors)
        data = [value for tensor in tensors for value in flat(tensor["data"])]
        inputs.append({**tensors[0], "shape": [rows, *tensors[0]["shape"][1:]], "data": data})
    return {**documents[0], "inputs": inputs}


def split(lines: Sequence[Line], answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer of each line; ValueError if an output has other rows than the lines together."""
    rows = [line.document["inputs"][0]["shape"][0] for line in lines]
    pieces: list[dict[str, Any]] = [{**answer, "outputs": []} for _ in lines]
    for output in answer.get("outputs", []):
        shape, data = output["shape"], flat(output["data"])
        if not shape or shape[0] != sum(rows):
            raise ValueError(f"output '{output['name']}' has shape {shape}, expected {sum(rows)} rows")
        width, start = math.prod(shape[1:]), 0
        for count, piece in zip(rows, pieces, strict=True):
            part = data[start * width : (start + count) * width]
            piece["outputs"].append({**output, "shape": [count, *shape[1:]], "data": part})
            start += count
    return pieces


def _likeness(line: Line) -> Any:
    """What has to be the same; None for a request without rows, or with different ones."""
    inputs = line.document["inputs"]
    if not inputs or any(not tensor["shape"] for tensor in inputs):
        return None
    if len({tensor["shape"][0] for tensor in inputs}) != 1:
        return None
    rest = {key: value for key, value in line.document.items() if key not in ("inputs", "id")}
    tensors = [
        ({key: value for key, value in tensor.items() if key not in ("shape", "data")}, tensor["shape"][1:])
        for tensor in inputs
    ]
    return rest, tensors
