"""The messages between the server and a stub: kinds, fields and the version number, in pure functions of bytes.

A message (what one end of `pyserver.ipc.channel` sends) is a sequence of records. A record is a header, `KIND LENGTH`,
a body of LENGTH bytes, and zeros up to the next multiple of 8. Whoever has several things to say says them in one.

The hot kinds (EXECUTE, RESPONSE, EXECUTED, ANSWERED, FREE; EXECUTE_ROWS and ROWS for batches) are fixed structs
followed by two byte strings:

* a *layout*: names, datatypes and shapes of tensors. The same traffic carries the same layouts over and over, so both
  sides keep a dictionary from layout bytes to its parsed form, and the other way round, and parse each one once;
* *extras*: what is rare on a request or a response, as a JSON object, empty when there is nothing to say.

Where a tensor's bytes lie is said beside the layout, in `windows`: the flat tuple (offset, size, offset, ...) into
the sender's arena, a pair for each tensor of the layout. The outputs of one response lie in one block of the stub's
arena, which starts at the first window's offset; the server gives it back by that offset, in a FREE. A response without
outputs has no block.

Hot records are read and written as plain tuples: they are made once a request, and nobody keeps them.
The cold kinds are JSON objects. All integers are little-endian.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, NamedTuple, Sequence, Tuple

from pyserver.ipc import rows

VERSION = 3
MAX_MESSAGE = 64 * 1024
"""No message is longer (bytes): both sides give their sockets buffers that hold several."""

# server -> stub
LOAD = 1
"""JSON: import the model, completing its config where asked. Strings: instance_name, kind, device_id, model_name,
version, model_directory, version_directory, model_file, backend_directory, config (the model's, JSON text); a bool:
complete_config; an integer: response_bytes, what the response arena may hold."""
INITIALIZE = 2
"""JSON: the dict of strings for the model's `initialize(args)`."""
EXECUTE = 3
"""One payload: 1..n requests for one call of the model's execute. A request's extras: id, parameters (an object),
correlation_id, flags, timeout_us, each left out where it is empty."""
FREE = 4
"""Offsets of response blocks that the server has read."""
FINALIZE = 5
"""No body: finish what was received, call finalize, say FINALIZED and exit."""
LEVELS = 6
"""JSON: levels, those of `logging` (numbers) that are heard: what a model's Logger is told at others is dropped."""
EXECUTE_ROWS = 7
"""An EXECUTE of requests that are alike (`rows`): one input each, without extras. It is read as that EXECUTE."""
# stub -> server
HELLO = 16
"""JSON: version (this module's), python, numpy (or null), pid. The first thing that a stub says."""
LOADED = 17
"""JSON: {"config": {...} or null}, or {"error": message, "traceback": text}."""
INITIALIZED = 18
"""JSON: {}, with is_ready (true) where the model has such a method, and metadata (an object) where an MLServer model
says something of itself, handlers (a list of {path, method, document}) where it answers REST routes of its own, feeds
(true) where it reads a client's whole stream in one call; or {"error", "traceback"}."""
RESPONSE = 19
"""An answer, or the error, to one request. Extras: parameters (an object), or, with an error, message and, where there
is one, traceback."""
EXECUTED = 20
"""A payload's execute is over. Its inputs stay where they are until then, and until the last of its requests' final
responses."""
LOG = 21
"""JSON: level (a number of `logging`'s), message, file, line; requests: the ids of those it is about."""
FINALIZED = 22
"""JSON: {}, or {"error", "traceback"}."""

ANSWERED = 23
"""The ordinary case in one record: the RESPONSE (OK and FINAL, without extras) to the only request of a payload, and
its EXECUTED."""
ROWS = 24
"""RESPONSEs to consecutive requests of a payload, alike (`rows`): OK and FINAL, one output each, without extras.
Their block is given back by its offset, once all of them are read."""

# On the second channel of an instance, by which its model asks the server: an EXECUTE, a payload of one request whose
# inputs lie in the response arena (extras: model_name, model_version, outputs, decoupled, for, and what a request has;
# its payload number is 1 where the stub's main thread waits for the answer, else 0), is answered by RESPONSEs whose
# outputs lie in the request arena until the stub says FREE. `for` are the keys of the requests that the model works
# for: when nobody waits for any of them, nobody waits for the call. Its extras may be {"feed": key} instead, of a
# request that began a client's stream: the other requests of that stream come as RESPONSEs, inputs as outputs, as they
# are read, then one that is EMPTY and not yet FINAL: it ends when the stub cancels it, or nobody waits any more.
CANCEL = 32
"""JSON: key, of a call that nobody waits for any more. It still gets its final RESPONSE."""
CONTROL = 33
"""JSON: key, what (load, unload, ready, family, metric, value) and what that needs. Answered by CONTROLLED."""
PROBED = 34
"""JSON: key, and ready (a bool) or error: what the model's is_ready said."""
CONTROLLED = 40
"""JSON: key, and value, or code (an ErrorCode's number) and message."""
PROBE = 41
"""JSON: key. The server asks for the model's is_ready, which is called in a thread of its own."""

SERVER_KINDS = frozenset((LOAD, INITIALIZE, EXECUTE, EXECUTE_ROWS, FREE, FINALIZE, LEVELS))
STUB_KINDS = frozenset((HELLO, LOADED, INITIALIZED, RESPONSE, EXECUTED, ANSWERED, ROWS, LOG, FINALIZED))
CALLER_KINDS = frozenset((EXECUTE, FREE, CANCEL, CONTROL, PROBED))
"""What a stub may say on the second channel."""
CALLEE_KINDS = frozenset((RESPONSE, CONTROLLED, PROBE))
"""What a server may say there."""

FINAL = 1
"""A response's flag: the last one to its request."""
EMPTY = 2
"""A response's flag, beside FINAL: nothing but the end of a stream that has said all before."""
RESCHEDULED = 4
"""A response's flag, beside FINAL: no answer; the request is to be queued again."""
DROPPED = 8
"""An error's flag: nobody waited for the request any more before its execute began, and it never ran."""
RAISED = 16
"""An error's flag: execute failed as a whole, and said nothing of single requests."""
OK = 255
"""A response's code where it is no error; otherwise it is an ErrorCode's number."""

DATATYPES = (
    "INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES", "BF16",
)  # fmt: skip
"""Numbered as in Triton's C API (and so in `pb_utils.triton_to_numpy_type`)."""
_CODES = {name: code for code, name in enumerate(DATATYPES)}

_RECORD = struct.Struct("<II")
_EXECUTE = struct.Struct("<QI4x")
_REQUEST = struct.Struct("<QIIII")
_RESPONSE = struct.Struct("<QBBHII4x")
_EXECUTED = struct.Struct("<QQQQQ")
_EXECUTED_RECORD = struct.Struct("<IIQQQQQ")
_ANSWERED = struct.Struct("<QQQQQQII")
_TENSOR = struct.Struct("<HBB")
# By number of tensors: a whole EXECUTE of one request, RESPONSE, or ANSWERED, up to its layout.
_PREPARED = 17
_WINDOWS = [struct.Struct(f"<{2 * count}Q") for count in range(_PREPARED)]
_REQUEST_WINDOWS = [struct.Struct(f"<QIIII{2 * count}Q") for count in range(_PREPARED)]
_EXECUTE_ONE = [struct.Struct(f"<IIQI4xQIIII{2 * count}Q") for count in range(_PREPARED)]
_RESPONSE_RECORD = [struct.Struct(f"<IIQBBHII4x{2 * count}Q") for count in range(_PREPARED)]
_ANSWERED_RECORD = [struct.Struct(f"<IIQQQQQQII{2 * count}Q") for count in range(_PREPARED)]

Windows = Tuple[int, ...]
Spec = Tuple[str, str, Tuple[int, ...]]
"""A tensor without its bytes: name, datatype, shape."""
Request = Tuple[int, int, bytes, Windows, bytes]
"""One request of an EXECUTE: key (comes back in its RESPONSEs), slot in the cancel table, layout, windows, extras."""


class MessageError(ValueError):
    """The bytes are not a message: the sender is broken, or hostile."""


class Layout(NamedTuple):
    """The tensors of a request or a response, and (requests only) the names of the outputs wanted: () is all."""

    tensors: Tuple[Spec, ...]
    outputs: Tuple[str, ...] = ()


def record(kind: int, body: bytes) -> bytes:
    """One record, padded: what a message is made of."""
    return b"%b%b%b" % (_RECORD.pack(kind, len(body)), body, bytes(-len(body) % 8))


def from_server(message: bytes, kinds: FrozenSet[int] = SERVER_KINDS) -> List[Tuple[Any, ...]]:
    """The records of a message to a stub, in order, all read before any is acted on.

    (EXECUTE, payload, [Request, ...]); (FREE, offsets); (kind, body) for the cold ones. MessageError for anything else.
    """
    records: List[Tuple[Any, ...]] = []
    for kind, start, stop in _split(message, kinds):
        if kind == EXECUTE:
            records.append((EXECUTE, *_execute(message, start, stop)))
        elif kind == EXECUTE_ROWS:
            records.append((EXECUTE, *_rows(rows.unpack_execute, message, start, stop)))
        elif kind == FREE:
            records.append((FREE, _offsets(message, start, stop)))
        else:
            records.append((kind, message[start:stop]))
    return records


def from_stub(message: bytes, kinds: FrozenSet[int] = STUB_KINDS) -> List[Tuple[Any, ...]]:
    """The records of a message from a stub, in order, all read before any is acted on.

    (RESPONSE, key, code, flags, layout, windows, extras);
    (EXECUTED, payload, started_ns, input_ns, infer_ns, output_ns);
    (ANSWERED, payload, key, layout, windows, started_ns, input_ns, infer_ns, output_ns);
    (ROWS, key, count, layout, offset, size); (kind, body) for the cold ones. MessageError for anything else.
    """
    records: List[Tuple[Any, ...]] = []
    for kind, start, stop in _split(message, kinds):
        if kind == RESPONSE:
            records.append(_response(message, start, stop))
        elif kind == EXECUTED:
            if stop - start != _EXECUTED.size:
                raise MessageError(f"executed has {stop - start} bytes, expected {_EXECUTED.size}")
            records.append((EXECUTED, *_EXECUTED.unpack_from(message, start)))
        elif kind == ANSWERED:
            records.append(_answered(message, start, stop))
        elif kind == ROWS:
            records.append((ROWS, *_rows(rows.unpack_answers, message, start, stop)))
        else:
            records.append((kind, message[start:stop]))
    return records


def from_caller(message: bytes) -> List[Tuple[Any, ...]]:
    """The records of a message from a stub on the second channel, as `from_server` gives them."""
    return from_server(message, CALLER_KINDS)


def from_callee(message: bytes) -> List[Tuple[Any, ...]]:
    """The records of a message to a stub on the second channel, as `from_stub` gives them."""
    return from_stub(message, CALLEE_KINDS)


def _split(message: bytes, kinds: FrozenSet[int]) -> Iterator[Tuple[int, int, int]]:
    """Kind, start and end of each record's body."""
    at, end = 0, len(message)
    while at < end:
        if end - at < 8:
            raise MessageError(f"a record header needs 8 bytes, got {end - at}")
        kind, length = _RECORD.unpack_from(message, at)
        at += 8
        if kind not in kinds:
            raise MessageError(f"unknown message kind {kind}")
        if length > end - at:
            raise MessageError(f"record of kind {kind} says {length} bytes, {end - at} are left")
        yield kind, at, at + length
        at += (length + 7) & ~7


def pack_json(kind: int, value: Dict[str, Any]) -> bytes:
    """A record of one of the cold kinds."""
    return record(kind, json.dumps(value, separators=(",", ":")).encode())


def unpack_json(body: bytes) -> Dict[str, Any]:
    """The object in a cold record, or in `extras`; MessageError for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MessageError(f"expected a JSON object, got {type(value).__name__}")
    return value


def pack_layout(layout: Layout) -> bytes:
    """Count of tensors, then of outputs; per tensor name length, datatype, rank, name, dims; then the outputs' names.

    Zeros follow up to the next multiple of 8, so that a record that ends in a layout needs no padding.
    """
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
    packed = b"".join(parts)
    return packed + bytes(-len(packed) % 8)


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
    if body[at:] != bytes(-at % 8):
        raise MessageError(f"layout of {len(body)} bytes ends at {at}")
    return Layout(tuple(tensors), tuple(outputs))


def _text(body: bytes, at: int, length: int) -> str:
    if at + length > len(body):
        raise MessageError(f"layout of {len(body)} bytes is cut in a name of {length} at {at}")
    return body[at : at + length].decode()


def pack_execute_one(payload: int, key: int, slot: int, layout: bytes, windows: Windows, extras: bytes = b"") -> bytes:
    """An EXECUTE record of a payload of one request."""
    count = len(windows) >> 1
    if count >= _PREPARED or extras:
        return pack_execute(payload, [(key, slot, layout, windows, extras)])
    size = len(layout)
    head = _EXECUTE_ONE[count].pack(EXECUTE, 40 + 16 * count + size, payload, 1, key, slot, count, size, 0, *windows)
    return head + layout


def pack_execute(payload: int, requests: Sequence[Request]) -> bytes:
    """An EXECUTE record."""
    parts = [_EXECUTE.pack(payload, len(requests))]
    for key, slot, layout, windows, extras in requests:
        count = len(windows) >> 1
        prepared = _REQUEST_WINDOWS[count] if count < _PREPARED else struct.Struct(f"<QIIII{2 * count}Q")
        parts.append(prepared.pack(key, slot, count, len(layout), len(extras), *windows))
        parts.append(layout)
        if extras:
            parts.append(extras)
    return record(EXECUTE, b"".join(parts))


def _execute(message: bytes, start: int, stop: int) -> Tuple[int, List[Request]]:
    try:
        payload, count = _EXECUTE.unpack_from(message, start)
        at = start + 16
        requests = []
        for _ in range(count):
            key, slot, tensors, layout_size, extras_size = _REQUEST.unpack_from(message, at)
            layout_at = at + 24 + 16 * tensors
            extras_at = layout_at + layout_size
            windows = _windows(message, at + 24, tensors)
            at = extras_at + extras_size
            if at > stop:
                raise MessageError(f"a request of an execute of {stop - start} bytes ends at {at - start}")
            requests.append((key, slot, message[layout_at:extras_at], windows, message[extras_at:at]))
    except struct.error as error:
        raise MessageError(f"broken execute of {stop - start} bytes: {error}") from None
    if at != stop:
        raise MessageError(f"execute of {stop - start} bytes ends at {at - start}")
    return payload, requests


def pack_response(key: int, code: int, flags: int, layout: bytes, windows: Windows, extras: bytes = b"") -> bytes:
    """A RESPONSE record; `code` is OK, or an ErrorCode's number with the message in `extras`."""
    count = len(windows) >> 1
    size, more = len(layout), len(extras)
    head: Tuple[int, ...] = (RESPONSE, 24 + 16 * count + size + more, key, code, flags, count, size, more)
    prepared = _RESPONSE_RECORD[count] if count < _PREPARED else struct.Struct(f"<IIQBBHII4x{2 * count}Q")
    if more:
        return b"%b%b%b%b" % (prepared.pack(*head, *windows), layout, extras, bytes(-more % 8))
    return prepared.pack(*head, *windows) + layout


def _response(message: bytes, start: int, stop: int) -> Tuple[Any, ...]:
    try:
        key, code, flags, tensors, layout_size, extras_size = _RESPONSE.unpack_from(message, start)
        layout_at = start + 24 + 16 * tensors
        extras_at = layout_at + layout_size
        if extras_at + extras_size != stop:
            raise MessageError(f"response of {stop - start} bytes ends at {extras_at + extras_size - start}")
        windows = _windows(message, start + 24, tensors)
    except struct.error as error:
        raise MessageError(f"broken response of {stop - start} bytes: {error}") from None
    return RESPONSE, key, code, flags, message[layout_at:extras_at], windows, message[extras_at:stop]


def _windows(message: bytes, at: int, count: int) -> Windows:
    if count < _PREPARED:
        return _WINDOWS[count].unpack_from(message, at)
    return struct.unpack_from(f"<{2 * count}Q", message, at)


def pack_executed(payload: int, started_ns: int, input_ns: int, infer_ns: int, output_ns: int) -> bytes:
    """An EXECUTED record: when it began (`time.monotonic_ns`), and what inputs, execute and outputs took."""
    return _EXECUTED_RECORD.pack(EXECUTED, _EXECUTED.size, payload, started_ns, input_ns, infer_ns, output_ns)


def pack_answered(
    payload: int,
    key: int,
    layout: bytes,
    windows: Windows,
    started_ns: int,
    input_ns: int,
    infer_ns: int,
    output_ns: int,
) -> bytes:
    """An ANSWERED record; times as in an EXECUTED."""
    count, size = len(windows) >> 1, len(layout)
    prepared = _ANSWERED_RECORD[count] if count < _PREPARED else struct.Struct(f"<IIQQQQQQII{2 * count}Q")
    length = 56 + 16 * count + size
    times = (started_ns, input_ns, infer_ns, output_ns)
    return prepared.pack(ANSWERED, length, payload, key, *times, count, size, *windows) + layout


def _answered(message: bytes, start: int, stop: int) -> Tuple[Any, ...]:
    try:
        payload, key, started_ns, input_ns, infer_ns, output_ns, tensors, size = _ANSWERED.unpack_from(message, start)
        layout_at = start + 56 + 16 * tensors
        if layout_at + size != stop:
            raise MessageError(f"answered of {stop - start} bytes ends at {layout_at + size - start}")
        windows = _windows(message, start + 56, tensors)
    except struct.error as error:
        raise MessageError(f"broken answered of {stop - start} bytes: {error}") from None
    return ANSWERED, payload, key, message[layout_at:stop], windows, started_ns, input_ns, infer_ns, output_ns


def pack_execute_rows(payload: int, key: int, slots: Sequence[int], layout: bytes, offset: int, size: int) -> bytes:
    """An EXECUTE_ROWS record: a request for each of `slots`."""
    return record(EXECUTE_ROWS, rows.pack_execute(payload, key, slots, layout, offset, size))


def pack_rows(key: int, count: int, layout: bytes, offset: int, size: int) -> bytes:
    """A ROWS record."""
    return record(ROWS, rows.pack_answers(key, count, layout, offset, size))


def _rows(unpack: Callable[[bytes, int, int], Tuple[Any, ...]], message: bytes, start: int, stop: int) -> Any:
    try:
        return unpack(message, start, stop)
    except ValueError as error:
        raise MessageError(f"broken rows: {error}") from None


def pack_free(offsets: Sequence[int]) -> bytes:
    """A FREE record."""
    return record(FREE, struct.pack(f"<{len(offsets)}Q", *offsets))


def _offsets(message: bytes, start: int, stop: int) -> Tuple[int, ...]:
    if (stop - start) % 8:
        raise MessageError(f"free has {stop - start} bytes, expected a multiple of 8")
    return struct.unpack_from(f"<{(stop - start) >> 3}Q", message, start)
