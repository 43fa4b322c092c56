"""Message classes out of the descriptors in messages.desc, in a pool of our own.

The pool is private because protobuf's default one holds each name once in a process: Triton's client and MLServer
register the same messages there.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.message import Message

DESCRIPTORS = Path(__file__).with_name("messages.desc")
# Two pools, or two classes of one message, would not know each other's messages: threads make them one at a time.
_MAKING = threading.RLock()
_FILE = 0x0A  # FileDescriptorSet.file: field 1, length-delimited.


class Method(NamedTuple):
    """An RPC: its `path` as on the wire, its two message classes, and which of them stream."""

    name: str
    path: str
    request: type[Message]
    response: type[Message]
    request_streams: bool
    response_streams: bool


def pool() -> Any:
    """Return a DescriptorPool (whose stubs have no types) with all of proto/; ImportError where it isn't compiled."""
    with _MAKING:
        return _pool()


@functools.cache
def _pool() -> Any:
    from google.protobuf.descriptor_pool import DescriptorPool

    try:
        compiled = DESCRIPTORS.read_bytes()
    except FileNotFoundError:
        raise ImportError(
            f"pyserver's messages are missing ({DESCRIPTORS}): run 'pip install .' in the checkout"
            " (or 'python setup.py build_ext --inplace' to work in it)"
        ) from None
    made: Any = DescriptorPool()
    for file in _files(compiled):
        made.AddSerializedFile(file)
    return made


def _files(compiled: bytes) -> Iterator[bytes]:
    """Yield the serialized files of a FileDescriptorSet, which has no other field; cheaper than its own class."""
    at = 0
    while at < len(compiled):
        assert compiled[at] == _FILE, f"{DESCRIPTORS} is no FileDescriptorSet"
        at, size, shift = at + 1, 0, 0
        while compiled[at] >= 0x80:
            size |= (compiled[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
        size |= compiled[at] << shift
        yield compiled[at + 1 : at + 1 + size]
        at += 1 + size


def exported(file: str, name: str) -> Any:
    """What a generated module would hold under `name`: a message class, an enum or one of its numbers."""
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
    from google.protobuf.message_factory import GetMessageClass

    descriptor: FileDescriptor = pool().FindFileByName(file)
    if name in descriptor.message_types_by_name:
        with _MAKING:
            return GetMessageClass(descriptor.message_types_by_name[name])
    if name in descriptor.enum_types_by_name:
        return EnumTypeWrapper(descriptor.enum_types_by_name[name])
    for enum in descriptor.enum_types_by_name.values():
        if name in enum.values_by_name:
            return enum.values_by_name[name].number
    raise AttributeError(f"{file} has no '{name}'")


def methods(service: str) -> list[Method]:
    """The RPCs of a service, e.g. `inference.GRPCInferenceService`, in their order."""
    from google.protobuf.message_factory import GetMessageClass

    return [
        Method(
            method.name,
            f"/{service}/{method.name}",
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
            method.client_streaming,
            method.server_streaming,
        )
        for method in pool().FindServiceByName(service).methods
    ]
