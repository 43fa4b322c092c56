"""The messages of the data plane as JSON schemas, in MLServer's names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Schema = dict[str, Any]

DATATYPES = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64",
    "BYTES",
]  # fmt: skip
STATES = ["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]

_TEXT: Schema = {"type": "string"}


def reference(name: str) -> Schema:
    """A schema that stands among the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def components() -> dict[str, Schema]:
    """Every schema that the paths refer to."""
    parameters = {"type": "object", "additionalProperties": True}
    shape = _list({"type": "integer"})
    datatype = {"type": "string", "enum": DATATYPES}
    tensor = {"name": _TEXT, "shape": shape, "datatype": datatype, "parameters": reference("Parameters")}
    data = {"data": reference("TensorData")}
    described = _object(tensor, "name", "datatype", "shape")
    return {
        "Parameters": parameters,
        "TensorData": {"type": "array", "items": {}, "description": "flat, row by row, or nested"},
        "LiveResponse": _object({"live": {"type": "boolean"}}, "live"),
        "ReadyResponse": _object({"ready": {"type": "boolean"}}, "ready"),
        "MetadataServerResponse": _object(
            {"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}, "name", "version", "extensions"
        ),
        "MetadataTensor": described,
        "MetadataModelResponse": _object(
            {
                "name": _TEXT,
                "versions": _list(_TEXT),
                "platform": _TEXT,
                "inputs": _list(reference("MetadataTensor")),
                "outputs": _list(reference("MetadataTensor")),
                "parameters": reference("Parameters"),
            },
            "name",
            "platform",
        ),
        "RequestInput": _object({**tensor, **data}, "name", "shape", "datatype", "data"),
        "RequestOutput": _object({"name": _TEXT, "parameters": reference("Parameters")}, "name"),
        "ResponseOutput": _object({**tensor, **data}, "name", "shape", "datatype", "data"),
        "InferenceRequest": request_of(reference("RequestInput")),
        "InferenceResponse": response_of(reference("ResponseOutput")),
        "InferenceErrorResponse": _object({"error": _TEXT}, "error"),
        "RepositoryIndexRequest": _object({"ready": {"type": "boolean"}}),
        "RepositoryIndexResponse": _list(
            _object({"name": _TEXT, "version": _TEXT, "state": {"type": "string", "enum": STATES}, "reason": _TEXT})
        ),
    }


def request_of(tensor: Schema) -> Schema:
    """An inference request with inputs of one schema."""
    return _object(
        {
            "id": _TEXT,
            "parameters": reference("Parameters"),
            "inputs": _list(tensor),
            "outputs": _list(reference("RequestOutput")),
        },
        "inputs",
    )


def response_of(tensor: Schema) -> Schema:
    """An answer with outputs of one schema."""
    return _object(
        {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "parameters": reference("Parameters"),
            "outputs": _list(tensor),
        },
        "model_name",
        "outputs",
    )


def tensors(described: Iterable[dict[str, Any]], any_other: str) -> Schema:
    """The schema of one of these tensors; of `any_other`, a component, where none is described."""
    found = [_tensor(tensor) for tensor in described]
    return {"anyOf": found} if found else reference(any_other)


def _tensor(tensor: dict[str, Any]) -> Schema:
    """A tensor of a model: its name, its datatype, and as many sizes as it has."""
    sizes = tensor["shape"]
    words = ", ".join("any" if size < 0 else str(size) for size in sizes)
    shape = {**_list({"type": "integer"}), "minItems": len(sizes), "maxItems": len(sizes)}
    return {
        **_object(
            {
                "name": {"type": "string", "enum": [tensor["name"]]},
                "shape": {**shape, "description": f"[{words}]"},
                "datatype": {"type": "string", "enum": [tensor["datatype"]]},
                "parameters": reference("Parameters"),
                "data": {**reference("TensorData")},
            },
            "name",
            "shape",
            "datatype",
            "data",
        ),
        "title": f"{tensor['name']}: {tensor['datatype']} [{words}]",
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(properties: dict[str, Schema], *required: str) -> Schema:
    made: Schema = {"type": "object", "properties": properties}
    return {**made, "required": list(required)} if required else made
