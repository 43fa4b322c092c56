"""The messages of the V2 protocol, for who converts them himself; made at run time where protobuf is installed."""

from __future__ import annotations

from typing import Any

_FIELDS = {
    "InferParameter": {},
    "InferTensorContents": {
        "bool_contents": (1, "bool*"), "int_contents": (2, "int32*"), "int64_contents": (3, "int64*"),
        "uint_contents": (4, "uint32*"), "uint64_contents": (5, "uint64*"), "fp32_contents": (6, "float*"),
        "fp64_contents": (7, "double*"), "bytes_contents": (8, "bytes*"),
    },
    "ModelInferRequest": {
        "model_name": (1, "string"), "model_version": (2, "string"), "id": (3, "string"),
        "parameters": (4, "InferParameter%"), "inputs": (5, ".ModelInferRequest.InferInputTensor*"),
        "outputs": (6, ".ModelInferRequest.InferRequestedOutputTensor*"), "raw_input_contents": (7, "bytes*"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"), "model_version": (2, "string"), "id": (3, "string"),
        "parameters": (4, "InferParameter%"), "outputs": (5, ".ModelInferResponse.InferOutputTensor*"),
        "raw_output_contents": (6, "bytes*"),
    },
}  # fmt: skip
_NESTED = {
    "ModelInferRequest": {
        "InferInputTensor": {
            "name": (1, "string"), "datatype": (2, "string"), "shape": (3, "int64*"),
            "parameters": (4, "InferParameter%"), "contents": (5, ".InferTensorContents"),
        },
        "InferRequestedOutputTensor": {"name": (1, "string"), "parameters": (2, "InferParameter%")},
    },
    "ModelInferResponse": {
        "InferOutputTensor": {
            "name": (1, "string"), "datatype": (2, "string"), "shape": (3, "int64*"),
            "parameters": (4, "InferParameter%"), "contents": (5, ".InferTensorContents"),
        },
    },
}  # fmt: skip
_PACKAGE = "inference"


def _made() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="mlserver_names.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        if name == "InferParameter":
            message.oneof_decl.add(name="parameter_choice")
            for number, (key, kind) in enumerate((("bool_param", 8), ("int64_param", 3), ("string_param", 9)), start=1):
                message.field.add(name=key, number=number, type=kind, label=1, oneof_index=0)
        for inner, own in _NESTED.get(name, {}).items():
            _fill(message.nested_type.add(name=inner), own, f".{_PACKAGE}.{name}.{inner}")
        _fill(message, fields, f".{_PACKAGE}.{name}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles([file.name], pool)
    return {name.rpartition(".")[2]: kind for name, kind in classes.items()}


_KINDS = {
    "bool": 8,
    "int32": 5,
    "int64": 3,
    "uint32": 13,
    "uint64": 4,
    "float": 2,
    "double": 1,
    "bytes": 12,
    "string": 9,
}


def _fill(message: Any, fields: Any, path: str) -> None:
    for name, (number, kind) in fields.items():
        if kind.endswith("%"):
            entry = "".join(part.title() for part in name.split("_")) + "Entry"
            inner = message.nested_type.add(name=entry)
            inner.options.map_entry = True
            inner.field.add(name="key", number=1, type=9, label=1)
            inner.field.add(name="value", number=2, type=11, label=1, type_name=f".{_PACKAGE}.{kind[:-1]}")
            message.field.add(name=name, number=number, type=11, label=3, type_name=f"{path}.{entry}")
            continue
        label = 3 if kind.endswith("*") else 1
        kind = kind.rstrip("*")
        if kind.startswith("."):
            message.field.add(name=name, number=number, type=11, label=label, type_name=f".{_PACKAGE}{kind}")
        else:
            message.field.add(name=name, number=number, type=_KINDS[kind], label=label)


def __getattr__(name: str) -> Any:
    if name in _FIELDS:
        try:
            globals().update(_made())
        except ImportError as error:
            raise ImportError(f"mlserver.grpc.dataplane_pb2.{name} needs protobuf: {error}") from None
        return globals()[name]
    raise AttributeError(name)
