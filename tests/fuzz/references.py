"""Plain readers of the formats that strangers send: slow, obvious, and written from the standards, not from ours."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
_FIELD = re.compile(
    rb"(" + _TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*")


def framing(block: bytes) -> tuple[int, bool] | None:
    """Length of the body of the request whose head is `block`, and whether it is chunked; None for what is no head.

    RFC 9112, sections 3, 5 and 6, without any of the liberties that it allows.
    """
    if not block.endswith(b"\r\n\r\n"):
        return None
    line, *lines = block[:-4].split(b"\r\n")
    fields = [_FIELD.fullmatch(each) for each in lines]
    started = _LINE.fullmatch(line)
    if started is None or None in fields:
        return None
    named = [(field[1].lower(), field[2]) for field in fields if field is not None]
    lengths = [value for name, value in named if name == b"content-length"]
    codings = [value for name, value in named if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        return None
    if codings:
        return (0, True) if codings[0].lower() == b"chunked" and started[3] == b"1" else None
    if lengths:
        return (int(lengths[0]), False) if re.fullmatch(rb"[0-9]+", lengths[0]) else None
    return 0, False


def unchunked(data: bytes) -> tuple[bytes, int] | None:
    """The content of a chunked body at the beginning of `data`, and where it ends; None if it isn't one, or is cut."""
    content, at = b"", 0
    while True:
        stop = data.find(b"\r\n", at)
        match = _CHUNK.fullmatch(data[at:stop]) if stop >= 0 else None
        if match is None:
            return None
        size, at = int(match[1], 16), stop + 2
        if not size:
            break
        if data[at + size : at + size + 2] != b"\r\n":
            return None
        content, at = content + data[at : at + size], at + size + 2
    while (stop := data.find(b"\r\n", at)) > at:
        if _TRAILER.fullmatch(data[at:stop]) is None:
            return None
        at = stop + 2
    return (content, stop + 2) if stop == at else None


def json_value(document: bytes) -> Any:
    """The value of a JSON document by the standard library, with our rules on top; ValueError, or RecursionError."""
    value = json.loads(
        document.decode(), object_pairs_hook=_once, parse_int=_integer, parse_float=_finite, parse_constant=_refuse
    )
    json.dumps(value, ensure_ascii=False).encode()  # no lone surrogates
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _integer(text: str) -> int | float:
    value = int(text)
    return value if -(2**64) < value < 2**64 else _finite(text)


def _finite(text: str) -> float:
    if math.isinf(float(text)):
        raise ValueError("too large")
    return float(text)


def _refuse(text: str) -> Any:
    raise ValueError(text)
