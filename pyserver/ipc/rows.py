"""Requests, or answers, of a batch that are alike: one layout, one window each, side by side in one block.

What is said of each of them in an EXECUTE, or in RESPONSEs, is said once. Rows have consecutive keys, and `size` bytes.
These are the bodies of the records EXECUTE_ROWS and ROWS; what is broken is a ValueError.
"""

from __future__ import annotations

import struct
from typing import Any, List, Sequence, Tuple

MOST_ROWS = 1 << 16
"""In one record, at most."""

_EXECUTE = struct.Struct("<QQQIIII")
_ROWS = struct.Struct("<QQIIII")

Request = Tuple[int, int, bytes, Tuple[int, ...], bytes]


def pack_execute(payload: int, key: int, slots: Sequence[int], layout: bytes, offset: int, size: int) -> bytes:
    """A payload of as many requests as there are `slots`, the first with `key` and its row at `offset`."""
    head = _EXECUTE.pack(payload, key, offset, size, len(slots), len(layout), 0)
    return b"%b%b%b" % (head, layout, struct.pack("<%dI" % len(slots), *slots))


def unpack_execute(message: bytes, start: int, stop: int) -> Tuple[int, List[Request]]:
    """The payload's number and its requests, as of an EXECUTE."""
    if stop - start < _EXECUTE.size:
        raise ValueError(f"{stop - start} bytes, expected {_EXECUTE.size} or more")
    payload, key, offset, size, count, layout_size, _ = _EXECUTE.unpack_from(message, start)
    at = start + _EXECUTE.size + layout_size
    _check(count, at + 4 * count - start, stop - start)
    layout = message[start + _EXECUTE.size : at]
    slots = struct.unpack_from("<%dI" % count, message, at)
    return payload, [(key + row, slot, layout, (offset + row * size, size), b"") for row, slot in enumerate(slots)]


def pack_answers(key: int, count: int, layout: bytes, offset: int, size: int) -> bytes:
    """The only outputs of `count` answers that are OK and final, the first one's to `key` and at `offset`."""
    return _ROWS.pack(key, offset, size, count, len(layout), 0) + layout


def unpack_answers(message: bytes, start: int, stop: int) -> Tuple[Any, ...]:
    """key, count, layout, offset, size."""
    if stop - start < _ROWS.size:
        raise ValueError(f"{stop - start} bytes, expected {_ROWS.size} or more")
    key, offset, size, count, layout_size, _ = _ROWS.unpack_from(message, start)
    _check(count, _ROWS.size + layout_size, stop - start)
    return key, count, message[start + _ROWS.size : stop], offset, size


def _check(count: int, end: int, length: int) -> None:
    if not 0 < count <= MOST_ROWS:
        raise ValueError(f"{count} rows, expected 1 to {MOST_ROWS}")
    if end != length:
        raise ValueError(f"{length} bytes end at {end}")
