"""An answer's way to the wire: its head in bytes, and which of its buffers are joined and which go as they are."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Iterable, Sequence

from pyserver.frontend.rest.infer import Answer
from pyserver.protocol import status
from pyserver.types import Buffer

JOINED = 32 * 1024
"""Up to so many bytes an answer is copied into one piece, and its memory given back at once: that is cheaper than to
have the kernel gather it."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_BINARY_200 = (
    b"HTTP/1.1 200 OK\r\n%bContent-Type: application/octet-stream\r\nContent-Length: %d\r\n"
    b"Inference-Header-Content-Length: %d\r\n\r\n"
)
_JSON_200 = b"HTTP/1.1 200 OK\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_CLOSE, _KEEP_ALIVE = b"Connection: close\r\n", b"Connection: keep-alive\r\n"


def connection_line(keep: bool, http_1_0: bool) -> bytes:
    """The Connection header that an answer needs, with its line end; empty where the version's default is meant."""
    if http_1_0:
        return _KEEP_ALIVE if keep else b""
    return b"" if keep else _CLOSE


def head_of(answer: Answer, connection: bytes) -> bytes:
    """Status line and headers; `connection` is a `connection_line`."""
    if answer.status == status.OK and not answer.extra:
        if answer.header_length is None:
            return _JSON_200 % (connection, answer.size)
        return _BINARY_200 % (connection, answer.size, answer.header_length)
    fields = answer.headers()
    line = f"HTTP/1.1 {answer.status} {status.http_reason(answer.status)}\r\n"
    return b"%b%b%b%b\r\n" % (line.encode("latin-1"), connection, _alike(tuple(fields[:-3])), _lines(fields[-3:]))


def _lines(fields: Iterable[tuple[str, str]]) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in fields]).encode("latin-1")


_alike = functools.lru_cache(256)(_lines)
"""The lines of an answer's first headers, which are alike for all answers of a model: the last are lengths and ids."""


BufferWriter = Callable[[asyncio.Transport, Sequence[Buffer]], None]


def write_gathered(transport: asyncio.Transport, buffers: Sequence[Buffer]) -> None:
    """Under uvloop: one writev. What the kernel doesn't take now, uvloop holds by reference.

    It drops those references before it calls `resume_writing` (with a low-water mark of 0), and never reads them after
    `connection_lost`: until either the buffers' memory has to stay as it is. With `get_write_buffer_size() == 0`
    directly after the call, it has already let go of them.
    """
    transport.writelines(buffers)


def write_in_turn(transport: asyncio.Transport, buffers: Sequence[Buffer]) -> None:
    """Under asyncio's own loops: one send a buffer.

    Up to 3.11 what the kernel doesn't take is copied; from 3.12 on it is held by reference, on the same terms as under
    uvloop. `writelines` would join all of them up to 3.11, and doesn't call `pause_writing` in early 3.12.
    """
    for buffer in buffers:
        transport.write(buffer)


def writer_for(loop: asyncio.AbstractEventLoop) -> BufferWriter:
    """How `loop`'s transports are best given several buffers."""
    return write_gathered if is_uvloop(loop) else write_in_turn


def is_uvloop(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether it is uvloop's."""
    return type(loop).__module__.startswith("uvloop")


def gathered(head: bytes, buffers: Sequence[Buffer]) -> list[Buffer]:
    """`head` and `buffers` in order, small neighbours joined."""
    parts: list[Buffer] = []
    small: list[Buffer] = [head]
    for buffer in buffers:
        if len(buffer) > JOINED:
            parts.append(b"".join(small))
            parts.append(buffer)
            small = []
        else:
            small.append(buffer)
    parts.append(b"".join(small))
    return [part for part in parts if part]


_TCP_CLOSE = 7  # linux/tcp_states.h


def is_reset(transport: asyncio.Transport) -> bool:
    """Whether the peer has answered what we wrote with a reset: there is nobody at the other end."""
    if not hasattr(socket, "TCP_INFO"):
        return False
    try:
        info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return True
    return bool(info[0] == _TCP_CLOSE)
