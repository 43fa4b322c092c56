"""A request that a model takes: every input that has to be there, small, with zeros or an empty text."""

from __future__ import annotations

import math
from typing import Any

MOST_ELEMENTS = 262_144
"""Beyond, an example would be a document of many megabytes that no page can show."""

SEQUENCE = {"sequence_id": 1, "sequence_start": True, "sequence_end": True}


def request(metadata: dict[str, Any], config: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON of an inference of the model with this metadata and configuration; None where it would be too large.

    Sizes that may vary are 1. A model that names no inputs gets one that it may or may not understand.
    """
    optional = {tensor["name"] for tensor in config.get("input", []) if tensor.get("optional")}
    inputs = [tensor for tensor in metadata.get("inputs", []) if tensor["name"] not in optional]
    if not metadata.get("inputs"):
        inputs = [{"name": "input-0", "datatype": "FP32", "shape": [1]}]
    if sum(math.prod(_shape(tensor)) for tensor in inputs) > MOST_ELEMENTS:
        return None
    body: dict[str, Any] = {"inputs": [_input(tensor) for tensor in inputs]}
    if "sequence_batching" in config:
        body["parameters"] = dict(SEQUENCE)
    return body


def generation(metadata: dict[str, Any], config: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON of a generate request: a value for each input, a list where there are several."""
    inference = request(metadata, config)
    if inference is None:
        return None
    body = {}
    for tensor in inference["inputs"]:
        body[tensor["name"]] = tensor["data"] if len(tensor["data"]) != 1 else tensor["data"][0]
    return {**body, **inference.get("parameters", {})}


def _shape(tensor: dict[str, Any]) -> list[int]:
    return [max(1, int(size)) for size in tensor["shape"]]


def _input(tensor: dict[str, Any]) -> dict[str, Any]:
    shape = _shape(tensor)
    made = {"name": tensor["name"], "shape": shape, "datatype": tensor["datatype"]}
    if tensor.get("parameters"):
        made["parameters"] = tensor["parameters"]
    return {**made, "data": [_value(tensor["datatype"])] * math.prod(shape)}


def _value(datatype: str) -> Any:
    if datatype == "BYTES":
        return ""
    if datatype == "BOOL":
        return False
    return 0.0 if "FP" in datatype or datatype == "BF16" else 0
