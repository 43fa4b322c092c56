"""What an MLServer model is told, and says, beside tensors: any JSON, of any size.

It travels as one more tensor, the last one, whose name is empty (BYTES, of shape [1], without a length in front): so it
costs no message its size, and a layout stays the same whatever is said. It is two JSON objects, either of which may be
missing: the headers, which are alike for all requests of a connection, behind their length; and the rest, which is
alike for all requests of one form. Both ends keep what they parsed by its bytes.

A request's rest: `parameters` (without headers); `inputs`, an object for each input: `parameters`, and `json` (true)
where its data are JSON text, with `datatype` and `shape`, or `nested` (true) where they came as nested lists;
`outputs`, the [{name, parameters}] that it asks for; `text` (true) where BYTES were JSON strings; `stream` (true) where
it wants a stream; `feed` (true) where it began a client's stream, the other requests of which are its own as well;
`typed` (true) where it came in gRPC's typed contents, and is to be answered so.

A request to a custom handler has one input, the body of an HTTP request, and in its rest `handler` alone: `number` of
the handler among the model's, `path` (values of placeholders), `query` (lists of values). Its answer has one output,
the body, and in its rest `status` and `headers`.

A response's: `model_name`, `model_version`, `parameters`, `headers`, `typed` as the request's, and `outputs`, an object
for each output: `parameters`, and `json` (true) with `datatype` and `shape` where its data are JSON text.
"""

from __future__ import annotations

import struct
from typing import Any, Tuple

NAME = ""
"""The name of the tensor."""
DATATYPE = "BYTES"
SHAPE = (1,)
BACKEND = "mlserver"
"""The backend of the models that have envelopes."""

_SIZE = struct.Struct("<I")


def pack(headers: bytes, rest: bytes) -> bytes:
    """An envelope of two JSON texts."""
    return b"%b%b%b" % (_SIZE.pack(len(headers)), headers, rest)


def split(envelope: Any) -> Tuple[bytes, bytes]:
    """The two JSON texts; ValueError for what is no envelope."""
    if len(envelope) < 4:
        raise ValueError(f"an envelope of {len(envelope)} bytes")
    end = 4 + _SIZE.unpack_from(envelope)[0]
    if end > len(envelope):
        raise ValueError(f"an envelope of {len(envelope)} bytes with headers up to {end}")
    return bytes(envelope[4:end]), bytes(envelope[end:])
