"""Undoes `Transfer-Encoding: chunked`, fed any pieces (RFC 9112, section 7.1). No I/O.

Strict where leniency lets two servers disagree about the end of a request: sizes are plain hexadecimal digits, lines
end with CR LF, nothing stands between the data of a chunk and its CR LF. Extensions and trailers are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pyserver.errors import invalid
from pyserver.frontend.rest.limits import Limits, body_too_large, header_too_large, too_many_chunks

_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n")
_MAX_LINE = 4096


class ChunkDecoder:
    """One body: `feed` calls `sink` with views of its bytes; `complete` is true once all have come, `size` of them."""

    __slots__ = ("_data_left", "_in_trailers", "_limits", "_line", "_line_end_left", "_sink", "_trailer_size", "chunks",
                 "complete", "size")  # fmt: skip

    def __init__(self, limits: Limits, sink: Callable[[memoryview], object]) -> None:
        self._limits = limits
        self._sink = sink
        self._line = b""
        self._data_left = 0
        self._line_end_left = b""
        self._in_trailers = False
        self._trailer_size = 0
        self.chunks = 0
        self.size = 0
        self.complete = False

    def feed(self, data: bytearray, view: memoryview, at: int, end: int) -> int:
        """Take bytes of `data` (which `view` looks at) from `at` on, not past `end`, nor past the end of the body.

        Returns where it stopped. ServerError (400) for a malformed body, too large a one, or too many chunks.
        """
        while at < end and not self.complete:
            if self._data_left:
                stop = min(end, at + self._data_left)
                self._data_left -= stop - at
                self._sink(view[at:stop])
                at = stop
            elif self._line_end_left:
                if data[at] != self._line_end_left[0]:
                    raise invalid("malformed chunked request body: a chunk is longer than its size says")
                self._line_end_left = self._line_end_left[1:]
                at += 1
            else:
                at = self._read_line(data, at, end)
        return at

    def _read_line(self, data: bytearray, at: int, end: int) -> int:
        stop = data.find(b"\n", at, end) + 1
        self._line += data[at : stop or end]
        if len(self._line) > _MAX_LINE:
            raise invalid(f"malformed chunked request body: a line of more than {_MAX_LINE} bytes")
        if not stop:
            return end
        line, self._line = self._line, b""
        if self._in_trailers:
            self._trailer(line)
        else:
            self._chunk(line)
        return stop

    def _chunk(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise invalid("malformed chunked request body: expected the size of a chunk")
        size = int(match[1], 16)
        if size == 0:
            self._in_trailers = True
            return
        self.chunks += 1
        if self.chunks > self._limits.max_chunks:
            raise too_many_chunks(self._limits)
        self.size += size
        if self.size > self._limits.max_body_size:
            raise body_too_large(self.size, self._limits)
        self._data_left = size
        self._line_end_left = b"\r\n"

    def _trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self.complete = True
            return
        self._trailer_size += len(line)
        if self._trailer_size > self._limits.max_header_size:
            raise header_too_large(self._limits)
        if _TRAILER.fullmatch(line) is None:
            raise invalid("malformed chunked request body: expected a trailer")
