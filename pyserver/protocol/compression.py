"""Content-Encoding: gzip and deflate (zlib-wrapped), bounded while inflating."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

from pyserver.errors import ErrorCode, ServerError, invalid
from pyserver.types import Buffer

ACCEPTED = "gzip, deflate"
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
_IDENTITY = ("", "identity")
# Tensors of floats hardly shrink: more effort than the least costs time and saves next to nothing.
_LEVEL = 1


class UnsupportedEncodingError(ServerError):
    """The body comes in an encoding that we don't know; the answer names `ACCEPTED` in its Accept-Encoding."""

    def __init__(self, encoding: str) -> None:
        message = f"Unsupported compression type '{encoding}', expected one of: {ACCEPTED}, identity"
        super().__init__(ErrorCode.UNSUPPORTED, message)


class Inflater:
    """Inflates one body, piece by piece, up to `limit` bytes in all."""

    def __init__(self, encoding: str, limit: int) -> None:
        """UnsupportedEncodingError for another encoding than gzip and deflate."""
        if encoding not in _WINDOW_BITS:
            raise UnsupportedEncodingError(encoding)
        self._encoding = encoding
        self._limit = limit
        self._left = limit
        self._stream = zlib.decompressobj(_WINDOW_BITS[encoding])

    def feed(self, data: Buffer) -> bytes:
        """What `data` adds. ServerError (400) if it is not of this encoding, or the whole grows over the limit."""
        try:
            # One byte more than allowed tells "just full" from "too much"; 0 would mean "no bound" to zlib.
            inflated = self._stream.decompress(data, self._left + 1)
        except zlib.error as error:
            raise invalid(f"request body is not valid {self._encoding} data: {error}") from None
        if len(inflated) > self._left:
            raise invalid(
                f"request body inflates to more than {self._limit} bytes, which exceeds the maximum allowed. "
                "Use --http-max-input-size to increase the limit."
            )
        if self._stream.unused_data:
            raise invalid(
                f"request body has {len(self._stream.unused_data)} bytes after the end of its {self._encoding} data"
            )
        self._left -= len(inflated)
        return inflated

    def end(self) -> None:
        """No more comes: ServerError (400) if the body was cut."""
        if not self._stream.eof:
            raise invalid(f"request body ends in the middle of its {self._encoding} data")


def inflate(encoding: str, body: Buffer, limit: int) -> Buffer:
    """`body` without its Content-Encoding; as it is for `identity`. Errors as `Inflater`'s."""
    name = encoding.strip().lower()
    if name in _IDENTITY:
        return body
    inflater = Inflater(name, limit)
    inflated = inflater.feed(body)
    inflater.end()
    return inflated


def compress(encoding: str, buffers: Sequence[Buffer]) -> bytes:
    """`buffers`, one after another, as one gzip or deflate body."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS[encoding])
    parts = [stream.compress(buffer) for buffer in buffers]
    parts.append(stream.flush())
    return b"".join(parts)


@lru_cache(maxsize=128)
def choose(accept_encoding: str) -> str:
    """The encoding an Accept-Encoding header wants most: gzip, deflate, or "" for none.

    The highest q among identity, gzip and deflate wins, the first on ties; `*` and what can't be parsed count for
    nothing, as in Triton.
    """
    best, best_weight = "", 0.0
    for item in accept_encoding.lower().split(","):
        name, _, parameter = item.partition(";")
        name, weight = name.strip(), _weight(parameter)
        if weight > best_weight and (name in _WINDOW_BITS or name == "identity"):
            best, best_weight = name, weight
    return "" if best == "identity" else best


def _weight(parameter: str) -> float:
    key, _, value = parameter.partition("=")
    if not key.strip():
        return 1.0
    try:
        return float(value) if key.strip() == "q" else 1.0
    except ValueError:
        return 0.0
