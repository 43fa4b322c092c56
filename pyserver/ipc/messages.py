"""The messages between the server and a stub: kinds, fields and the version number, in pure functions of bytes.

A message (one datagram on a SOCK_SEQPACKET pair) is a sequence of records. A record is a header, `KIND LENGTH`, a body
of LENGTH bytes, and zeros up to the next multiple of 8. Whoever has several things to say says them in one message.

The hot kinds (EXECUTE, RESPONSE, EXECUTED, FREE) are fixed structs followed by two byte strings:

* a *layout*: names, datatypes and shapes of tensors. The same traffic carries the same layouts over and over, so both
  sides keep a dictionary from layout bytes to its parsed form, and the other way round, and parse each one once;
* *extras*: what is rare on a request or a response (its id, parameters, ...), as a JSON object, empty when there is none.

Where a tensor's bytes lie is said beside the layout, in `windows`: (offset, size) pairs into the sender's arena.
The cold kinds are JSON objects. All integers are little-endian.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

VERSION = 1
MAX_MESSAGE = 128 * 1024
"""No message is longer (bytes): both sides give their sockets buffers that hold several."""

# server -> stub
LOAD = 1  # JSON: import the model and, where asked, complete its config (fields: pyserver.stub.loop)
INITIALIZE = 2  # JSON: the dict of strings for the model's initialize
EXECUTE = 3  # one payload: 1..n requests for one call of the model's execute
FREE = 4  # offsets of response blocks that the server has read
FINALIZE = 5  # no body: finish what was received, call finalize, say FINALIZED and exit
# stub -> server
HELLO = 16  # JSON: version, python, numpy, pid
LOADED = 17  # JSON: {"config": {...} or null}, or {"error": message, "traceback": text}
INITIALIZED = 18  # JSON: {}, or {"error", "traceback"}
RESPONSE = 19  # an answer, or the error, to one request
EXECUTED = 20  # a payload is done with: its inputs may be reused; how long its parts took
LOG = 21  # JSON: level, message, file, line
FINALIZED = 22  # JSON: {}, or {"error", "traceback"}

SERVER_KINDS = frozenset((LOAD, INITIALIZE, EXECUTE, FREE, FINALIZE))
STUB_KINDS = frozenset((HELLO, LOADED, INITIALIZED, RESPONSE, EXECUTED, LOG, FINALIZED))

_RECORD = struct.Struct("<II")
_EXECUTE = struct.Struct("<QI4x")
_REQUEST = struct.Struct("<QHHI")
_RESPONSE = struct.Struct("<QBBHHxxI4x")
_EXECUTED = struct.Struct("<QQQQ")
_TENSOR = struct.Struct("<HBB")

DATATYPES = (
    "INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES", "BF16",
)  # fmt: skip
"""Numbered as in Triton's C API (and so in `pb_utils.triton_to_numpy_type`)."""
_CODES = {name: code for code, name in enumerate(DATATYPES)}

FINAL = 1
"""A response's flag: the last one to its request."""

Windows = Sequence[Tuple[int, int]]
Spec = Tuple[str, str, Tuple[int, ...]]
"""A tensor without its bytes: name, datatype, shape."""


class MessageError(ValueError):
    """The bytes are not a message: the sender is broken, or hostile."""


class Layout(NamedTuple):
    """The tensors of a request or a response, and (requests only) the names of the outputs wanted: () is all."""

    tensors: Tuple[Spec, ...]
    outputs: Tuple[str, ...] = ()


class Request(NamedTuple):
    """One request of an EXECUTE: `slot` is its word in the cancel table, `key` comes back in its RESPONSE."""

    key: int
    slot: int
    layout: bytes
    windows: Windows
    extras: bytes = b""


class Execute(NamedTuple):
    """A payload: its number, and its requests."""

    payload: int
    requests: List[Request]


class Response(NamedTuple):
    """The answer to request `key`: `code` is None, or an ErrorCode's number with the message in `extras`."""

    key: int
    code: Optional[int]
    flags: int
    layout: bytes
    windows: Windows
    extras: bytes = b""


class Executed(NamedTuple):
    """Payload `payload` is done with; nanoseconds that reading inputs, execute, and writing outputs took."""

    payload: int
    input_ns: int
    infer_ns: int
    output_ns: int


def record(kind: int, body: bytes) -> bytes:
    """One record, padded: what a message is made of."""
    return b"%b%b%b" % (_RECORD.pack(kind, len(body)), body, bytes(-len(body) % 8))


def split(message: bytes, kinds: "frozenset[int]") -> Iterator[Tuple[int, bytes]]:
    """The records of a message, as (kind, body). MessageError for a kind not in `kinds` or a length past the end."""
    at, end = 0, len(message)
    while at < end:
        if end - at < _RECORD.size:
            raise MessageError(f"a record header needs {_RECORD.size} bytes, got {end - at}")
        kind, length = _RECORD.unpack_from(message, at)
        start = at + _RECORD.size
        if kind not in kinds:
            raise MessageError(f"unknown message kind {kind}")
        if length > end - start:
            raise MessageError(f"record of kind {kind} says {length} bytes, {end - start} are left")
        yield kind, message[start : start + length]
        at = start + length + (-length % 8)


def pack_json(kind: int, value: Dict[str, Any]) -> bytes:
    """A record of one of the cold kinds."""
    return record(kind, json.dumps(value, separators=(",", ":")).encode())


def unpack_json(body: bytes) -> Dict[str, Any]:
    """The object in a cold record, or in `extras`; MessageError for anything else."""
    try:
        value = json.loads(body)
    except ValueError as error:
        raise MessageError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MessageError(f"expected a JSON object, got {type(value).__name__}")
    return value


def pack_layout(layout: Layout) -> bytes:
    """Count of tensors, then of outputs; per tensor name length, datatype, rank, name, dims; then the outputs' names."""
    parts = [struct.pack("<HH", len(layout.tensors), len(layout.outputs))]
    for name, datatype, shape in layout.tensors:
        text = name.encode()
        parts.append(_TENSOR.pack(len(text), _CODES[datatype], len(shape)))
        parts.append(text)
        parts.append(struct.pack(f"<{len(shape)}Q", *shape))
    for name in layout.outputs:
        text = name.encode()
        parts.append(struct.pack("<H", len(text)))
        parts.append(text)
    return b"".join(parts)


def unpack_layout(body: bytes) -> Layout:
    """The inverse of `pack_layout`; MessageError for bytes that are cut, too long, or name an unknown datatype."""
    try:
        tensor_count, output_count = struct.unpack_from("<HH", body)
        at = 4
        tensors = []
        for _ in range(tensor_count):
            length, code, rank = _TENSOR.unpack_from(body, at)
            at += _TENSOR.size
            name = _text(body, at, length)
            at += length
            shape = struct.unpack_from(f"<{rank}Q", body, at)
            at += 8 * rank
            if not 0 < code < len(DATATYPES):
                raise MessageError(f"tensor '{name}' has unknown datatype code {code}")
            tensors.append((name, DATATYPES[code], shape))
        outputs = []
        for _ in range(output_count):
            (length,) = struct.unpack_from("<H", body, at)
            outputs.append(_text(body, at + 2, length))
            at += 2 + length
    except (struct.error, UnicodeDecodeError) as error:
        raise MessageError(f"broken layout of {len(body)} bytes: {error}") from None
    if at != len(body):
        raise MessageError(f"layout of {len(body)} bytes ends at {at}")
    return Layout(tuple(tensors), tuple(outputs))


def _text(body: bytes, at: int, length: int) -> str:
    if at + length > len(body):
        raise MessageError(f"layout of {len(body)} bytes is cut in a name of {length} at {at}")
    return body[at : at + length].decode()


def pack_execute(execute: Execute) -> bytes:
    """An EXECUTE record."""
    parts = [_EXECUTE.pack(execute.payload, len(execute.requests))]
    for key, slot, layout, windows, extras in execute.requests:
        parts.append(_REQUEST.pack(key, len(windows), len(layout), len(extras)))
        parts.append(struct.pack(f"<I{2 * len(windows)}Q", slot, *_flat(windows)))
        parts.append(layout)
        parts.append(extras)
    return record(EXECUTE, b"".join(parts))


def unpack_execute(body: bytes) -> Execute:
    """The inverse of `pack_execute`; MessageError for bytes that are cut or too long."""
    try:
        payload, count = _EXECUTE.unpack_from(body)
        at = _EXECUTE.size
        requests = []
        for _ in range(count):
            key, tensors, layout_size, extras_size = _REQUEST.unpack_from(body, at)
            at += _REQUEST.size
            slot, *flat = struct.unpack_from(f"<I{2 * tensors}Q", body, at)
            at += 4 + 16 * tensors
            middle, end = at + layout_size, at + layout_size + extras_size
            requests.append(Request(key, slot, body[at:middle], _pairs(flat), body[middle:end]))
            at = end
    except struct.error as error:
        raise MessageError(f"broken execute of {len(body)} bytes: {error}") from None
    if at != len(body):
        raise MessageError(f"execute of {len(body)} bytes ends at {at}")
    return Execute(payload, requests)


def pack_response(response: Response) -> bytes:
    """A RESPONSE record."""
    key, code, flags, layout, windows, extras = response
    head = _RESPONSE.pack(key, 255 if code is None else code, flags, len(windows), len(layout), len(extras))
    return record(RESPONSE, b"".join((head, struct.pack(f"<{2 * len(windows)}Q", *_flat(windows)), layout, extras)))


def unpack_response(body: bytes) -> Response:
    """The inverse of `pack_response`; MessageError for bytes that are cut or too long."""
    try:
        key, code, flags, tensors, layout_size, extras_size = _RESPONSE.unpack_from(body)
        at = _RESPONSE.size
        windows = _pairs(struct.unpack_from(f"<{2 * tensors}Q", body, at))
        at += 16 * tensors
    except struct.error as error:
        raise MessageError(f"broken response of {len(body)} bytes: {error}") from None
    middle, end = at + layout_size, at + layout_size + extras_size
    if end != len(body):
        raise MessageError(f"response of {len(body)} bytes ends at {end}")
    return Response(key, None if code == 255 else code, flags, body[at:middle], windows, body[middle:end])


def pack_executed(executed: Executed) -> bytes:
    """An EXECUTED record."""
    return record(EXECUTED, _EXECUTED.pack(*executed))


def unpack_executed(body: bytes) -> Executed:
    """The inverse of `pack_executed`; MessageError for another length."""
    if len(body) != _EXECUTED.size:
        raise MessageError(f"executed has {len(body)} bytes, expected {_EXECUTED.size}")
    return Executed(*_EXECUTED.unpack(body))


def pack_free(offsets: Sequence[int]) -> bytes:
    """A FREE record."""
    return record(FREE, struct.pack(f"<{len(offsets)}Q", *offsets))


def unpack_free(body: bytes) -> Tuple[int, ...]:
    """The inverse of `pack_free`; MessageError for a length that is no multiple of 8."""
    if len(body) % 8:
        raise MessageError(f"free has {len(body)} bytes, expected a multiple of 8")
    return struct.unpack(f"<{len(body) // 8}Q", body)


def _flat(windows: Windows) -> Iterator[int]:
    for offset, size in windows:
        yield offset
        yield size


def _pairs(flat: Sequence[int]) -> List[Tuple[int, int]]:
    return list(zip(flat[::2], flat[1::2]))
