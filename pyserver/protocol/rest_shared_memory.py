"""The bodies of shared memory registrations."""

from __future__ import annotations

import base64
import binascii
from typing import Any, NamedTuple

import orjson

from pyserver.errors import invalid
from pyserver.protocol import rest_values as json_as
from pyserver.types import Buffer

HANDLE_SIZE = 64
"""Bytes of a cudaIpcMemHandle_t."""


class SystemRegion(NamedTuple):
    """`byte_size` bytes from `offset` of the object `key`."""

    key: str
    offset: int
    byte_size: int


class CudaRegion(NamedTuple):
    """`byte_size` bytes of memory of GPU `device_id`, behind a cudaIpcMemHandle_t."""

    raw_handle: bytes
    device_id: int
    byte_size: int


def decode_register(body: Buffer) -> SystemRegion:
    """What a system region is to be. ServerError (400) where a field is missing or has another type than it should."""
    fields = _fields(body)
    return SystemRegion(
        json_as.string(_field(fields, "key"), "key", ""),
        json_as.unsigned(fields.get("offset", 0), "offset", ""),
        json_as.unsigned(_field(fields, "byte_size"), "byte_size", ""),
    )


def decode_register_cuda(body: Buffer) -> CudaRegion:
    """What a CUDA region is to be; errors as `decode_register`'s, and for a handle that is not 64 bytes in base64."""
    fields = _fields(body)
    handle = json_as.mapping(_field(fields, "raw_handle"), "raw_handle", "")
    text = json_as.string(json_as.member(handle, "b64", " of 'raw_handle'"), "b64", " of 'raw_handle'")
    return CudaRegion(
        _decode_handle(text),
        json_as.unsigned(_field(fields, "device_id"), "device_id", ""),
        json_as.unsigned(_field(fields, "byte_size"), "byte_size", ""),
    )


def _fields(body: Buffer) -> dict[str, Any]:
    try:
        document = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise invalid(f"failed to parse the request JSON buffer: {error.msg} at {error.pos}") from None
    return json_as.mapping(document, "register", " of a shared memory register request")


def _field(fields: dict[str, Any], key: str) -> Any:
    if key not in fields:
        raise invalid(f"Shared memory register request has no '{key}' field")
    return fields[key]


def _decode_handle(text: str) -> bytes:
    try:
        handle = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        handle = b""
    if len(handle) != HANDLE_SIZE:
        raise invalid("'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t")
    return handle
