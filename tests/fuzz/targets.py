"""What strangers' bytes are let loose on, one function a reader: it takes any bytes, and raises only if we are wrong.

`SEEDS` are good inputs to begin from. The fuzzer (`python -m tests.fuzz.run`) and a bounded test both use this table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from pyserver.core import json as core_json
from pyserver.core import records, wire
from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.rest.lane.chunked import ChunkDecoder
from pyserver.frontend.rest.lane.head import parse
from pyserver.frontend.rest.limits import Limits
from pyserver.ipc import messages as m
from pyserver.proto import inference as pb
from pyserver.protocol import compression, grpc_infer, grpc_messages, rest_control, rest_generate, rest_infer
from tests.fuzz import references
from tests.fuzz.connection import talk
from tests.fuzz.seeds import SEEDS, WORDS

LIMITS = Limits(max_input_size=1 << 20, max_body_size=1 << 20)
CLIENTS_FAULT = (ErrorCode.INVALID_ARG, ErrorCode.NOT_FOUND, ErrorCode.UNSUPPORTED)
LONGEST = 2000
"""Characters of an error: whatever was sent, it is not sent back."""


class Target(NamedTuple):
    """A reader: `feed` raises what it doesn't expect; `seeds` are good inputs, `words` parts of such."""

    feed: Callable[[bytes], None]
    seeds: list[bytes]
    words: list[bytes]


def refuses(read: Callable[[], Any]) -> Any:
    """What `read` gives, None where it blames the client; everything else it raises is our mistake."""
    try:
        return read()
    except ServerError as error:
        refusal = error
    assert refusal.code in CLIENTS_FAULT, refusal
    assert len(refusal.message) < LONGEST, refusal
    return None


def head(data: bytes) -> None:
    """Whatever is taken for a head means to us what it means to a reader without any leniency."""
    block = data.partition(b"\r\n\r\n")[0].rstrip(b"\r\n") + b"\r\n\r\n"
    found = refuses(lambda: parse(block, LIMITS))
    if found is not None:
        assert (found.length, found.chunked) == references.framing(block), block


def chunks(data: bytes) -> None:
    """However it is cut, a chunked body has one content and one end."""
    cut = data[0] + 1 if data else 1
    body = data[1:]
    expected = references.unchunked(body)
    for pieces in ([body], [body[at : at + cut] for at in range(0, len(body), cut)]):
        content = bytearray()
        decoder = ChunkDecoder(LIMITS, content.extend)
        taken = 0
        try:
            for piece in pieces:
                taken += decoder.feed(bytearray(piece), memoryview(piece), 0, len(piece))
        except ServerError:
            assert expected is None or decoder.size > LIMITS.max_body_size, body
            continue
        assert decoder.complete == (expected is not None), body
        assert not decoder.complete or (bytes(content), taken) == expected, body


def json_documents(data: bytes) -> None:
    """The scanner takes what the standard library takes, for the same value, and nothing else."""
    try:
        expected = references.json_value(data)
    except (ValueError, RecursionError):
        expected = references
    try:
        found, kind = core_json.loads(data), ""
    except core_json.JsonError as error:
        found, kind = references, error.kind
    if found is references:
        assert expected is references or kind in ("depth", "limit") or b"data" in data, (data, kind)
        return
    if not _holds_data(found):
        assert expected is not references, data
        assert repr(found) == repr(expected), data


def _holds_data(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_data, value.values()))
    return isinstance(value, core_json.JsonData) or (isinstance(value, list) and any(map(_holds_data, value)))


def json_data(data: bytes) -> None:
    """An array of elements, as every datatype in turn."""
    for datatype in m.DATATYPES[1:]:
        document = b'{"datatype":"%b","data":%b}' % (datatype.encode(), data)
        try:
            found = core_json.loads(document, 1 << 20)
        except core_json.JsonError:
            continue
        if isinstance(found, dict) and isinstance(found.get("data"), core_json.JsonData):
            assert found["data"].count >= 0
            again = core_json.loads(b'{"datatype":"%b","data":%b}' % (datatype.encode(), data), 1 << 20)
            assert again["data"].buffer == found["data"].buffer


def rest(data: bytes) -> None:
    """A body of an inference, behind a length that the first two bytes say."""
    length = int.from_bytes(data[:2], "little")
    body = data[2:]
    for header in (length, None, 0):
        if header is None or header <= len(body):
            refuses(lambda header=header: rest_infer.decode(body, header, "m", "", None, 1 << 20))  # type: ignore[misc]


def control(data: bytes) -> None:
    """Bodies of the repository extension and of generate."""
    refuses(lambda: rest_control.decode_index(data))
    refuses(lambda: rest_control.decode_unload(data))
    refuses(lambda: rest_control.decode_load(data, "m", 1 << 20))
    specs = [{"name": "x", "datatype": "FP32", "shape": [-1]}, {"name": "t", "datatype": "BYTES", "shape": [1]}]
    refuses(lambda: rest_generate.decode(data, specs, "m", "", 1 << 20))


def compressed(data: bytes) -> None:
    """A body in gzip or deflate inflates to the limit at most."""
    for encoding in ("gzip", "deflate"):
        inflated = refuses(lambda encoding=encoding: compression.inflate(encoding, data, 1 << 16))  # type: ignore[misc]
        assert inflated is None or len(inflated) <= 1 << 16
    compression.choose(data.decode("latin-1"))


def wire_requests(data: bytes) -> None:
    """A ModelInferRequest that we take is one to protobuf, with the same in it."""
    refuses(lambda: grpc_infer.decode(data))
    try:
        found = wire.decode_request(data)
    except ValueError:
        return
    try:
        expected: Any = pb.ModelInferRequest.FromString(data)
    except DecodeError:
        raise AssertionError(f"protobuf refuses {data!r}") from None
    assert (found.model_name, found.model_version, found.id) == (
        expected.model_name, expected.model_version, expected.id,
    )  # fmt: skip
    assert [(each[0], each[1], each[2]) for each in found.inputs] == [
        (each.name, each.datatype, tuple(each.shape)) for each in expected.inputs
    ]
    assert [each[0] for each in found.outputs] == [each.name for each in expected.outputs]
    assert list(map(bytes, found.raw)) == list(expected.raw_input_contents)
    # Google's own decoder leaves out a parameter with unknown fields in it.
    assert set(found.parameters) >= set(expected.parameters)


def wire_messages(data: bytes) -> None:
    """The other messages of gRPC."""
    refuses(lambda: grpc_messages.parse_named(data))
    refuses(lambda: grpc_messages.parse_index(data))
    refuses(lambda: grpc_messages.parse_load(data))
    refuses(lambda: grpc_messages.parse_unload(data))


def stub_records(data: bytes) -> None:
    """Both readers of what a stub says give the same, or refuse it in the same words."""
    assert _outcome(records.from_stub, data) == _outcome(m.from_stub, data)


def stub_messages(data: bytes) -> None:
    """Everything else that the two processes tell each other: read, or a MessageError."""
    for read in (m.from_server, m.from_caller, m.from_callee, m.unpack_json, m.unpack_layout):
        found = _outcome(read, data)
        if read is m.unpack_layout and isinstance(found, m.Layout):
            assert m.unpack_layout(m.pack_layout(found)) == found


def _outcome(read: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return read(data)
    except m.MessageError as error:
        return str(error)


_READERS: dict[str, Callable[[bytes], None]] = {
    "connection": talk,
    "head": head,
    "chunks": chunks,
    "json": json_documents,
    "json data": json_data,
    "rest": rest,
    "control": control,
    "compressed": compressed,
    "wire": wire_requests,
    "wire messages": wire_messages,
    "records": stub_records,
    "messages": stub_messages,
}

TARGETS = {name: Target(feed, SEEDS[name], WORDS.get(name, [])) for name, feed in _READERS.items()}
