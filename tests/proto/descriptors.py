"""Prints, as JSON, how our descriptors differ from those of Triton's client. Run in a process of its own."""

from __future__ import annotations

import json
from typing import Any

from tritonclient.grpc import model_config_pb2, service_pb2

from pyserver.proto import pool


def add_fields(found: dict[str, Any], message: Any) -> None:
    for field in message.fields:
        kind = field.message_type or field.enum_type
        oneof = field.containing_oneof.name if field.containing_oneof else ""
        found[f"{message.full_name}.{field.name}"] = [
            field.number,
            field.type,
            field.is_repeated,
            kind.full_name if kind else "",
            oneof,
        ]
    for enum in message.enum_types:
        add_values(found, enum)
    for nested in message.nested_types:
        add_fields(found, nested)


def add_values(found: dict[str, Any], enum: Any) -> None:
    found.update({f"{enum.full_name}.{value.name}": value.number for value in enum.values})


def described(file: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for message in file.message_types_by_name.values():
        found[message.full_name] = "message"
        add_fields(found, message)
    for enum in file.enum_types_by_name.values():
        add_values(found, enum)
    for service in file.services_by_name.values():
        for method in service.methods:
            types = [method.input_type.full_name, method.output_type.full_name]
            found[f"{service.full_name}/{method.name}"] = [*types, method.client_streaming, method.server_streaming]
    return found


def main() -> None:
    ours = described(pool.pool().FindFileByName("model_config.proto"))
    ours |= described(pool.pool().FindFileByName("inference.proto"))
    theirs = described(model_config_pb2.DESCRIPTOR) | described(service_pb2.DESCRIPTOR)
    differences = {
        "theirs": len(theirs),
        "missing": sorted(theirs.keys() - ours.keys()),
        "new": sorted(ours.keys() - theirs.keys()),
        "different": sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]),
    }
    print(json.dumps(differences))


main()
