"""One end of the socket between a server and a stub: whole messages in, records packed into messages out.

The pair is SOCK_SEQPACKET: message borders for free, and an end-of-file when the other side is gone. The server's end
doesn't block and the stub's does. A record that is longer than a message can be travels in PART records, one to a
message, the last of them a LAST_PART; whoever receives sees it whole.
"""

from __future__ import annotations

import socket
import struct
from typing import List, Tuple

from pyserver.ipc.messages import MAX_MESSAGE, MessageError

MAX_RECORD = 256 << 20
"""No record is longer (bytes), however many messages carry it."""
_BUFFER = 4 * MAX_MESSAGE
_SPARE = 4096  # of a socket's buffer, for what the kernel keeps beside a message
_PART = struct.Struct("<II")
PART = 0xFFFF0001
LAST_PART = 0xFFFF0002


def pair() -> Tuple[socket.socket, socket.socket]:
    """Make the two ends: the server's, non-blocking, and the stub's, blocking. Neither is inheritable."""
    server, stub = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.setblocking(False)
    return server, stub


class Channel:
    """An end, over its connected `sock`. Not thread-safe: `put` and `flush` belong under one lock where threads send.

    Once the other side is gone `receive` returns b"" and `flush` drops what it should send: the end of a
    conversation is always told by `receive`, after everything that was said before it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._limit = min(MAX_MESSAGE, sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2 - _SPARE)
        self._records: List[bytes] = []
        self._size = 0
        self._ready: List[bytes] = []  # messages that the socket had no room for, the next one last
        self._parts: List[bytes] = []
        self._parts_size = 0

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.sock.fileno()

    def put(self, record: bytes) -> None:
        """Append a record to what the next `flush` sends."""
        self._records.append(record)
        self._size += len(record)

    def flush(self) -> bool:
        """Send what was put, in as few messages as hold it.

        False if a non-blocking socket is full: flush again once it is writable, nothing is lost or out of order.
        """
        if self._size <= self._limit and not self._ready:
            message = b"".join(self._records)
            self._records.clear()
            self._size = 0
            if not message or self._send(message):
                return True
            self._ready.append(message)
            return False
        if self._records:
            self._ready[:0] = reversed(_messages(self._records, self._limit))
            self._records.clear()
            self._size = 0
        while self._ready:
            if not self._send(self._ready[-1]):
                return False
            self._ready.pop()
        return True

    def receive(self) -> bytes:
        """Return the next message; b"" once the other side is gone. BlockingIOError if a non-blocking socket has none.

        MessageError for a part that does not belong where it is.
        """
        while True:
            message = self._recv()
            # The high bytes of a record's kind are zero unless it is a part.
            if message[2:4] != b"\xff\xff":
                if self._parts and message:
                    raise MessageError("a message inside a record's parts")
                return message
            whole = self._join(message)
            if whole:
                return whole

    def close(self) -> None:
        """Close the socket; what was not sent is dropped."""
        self.sock.close()
        self._records.clear()
        self._ready.clear()
        self._parts.clear()

    def _recv(self) -> bytes:
        # A side that closes with messages unread resets the connection. That is told once, and before what it had
        # said until then.
        for _ in range(2):
            try:
                return self.sock.recv(MAX_MESSAGE)
            except ConnectionError:
                pass
        return b""

    def _send(self, message: bytes) -> bool:
        try:
            self.sock.send(message)
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        return True

    def _join(self, message: bytes) -> bytes:
        if len(message) <= _PART.size:
            raise MessageError(f"a part has {len(message)} bytes")
        kind, length = _PART.unpack_from(message)
        self._parts_size += length
        if length != len(message) - _PART.size or kind not in (PART, LAST_PART) or self._parts_size > MAX_RECORD:
            raise MessageError(f"a part of kind {kind:#x} says {length} bytes, after {self._parts_size - length}")
        self._parts.append(message[_PART.size :])
        if kind == PART:
            return b""
        whole = b"".join(self._parts)
        self._parts.clear()
        self._parts_size = 0
        return whole


def _messages(records: List[bytes], limit: int) -> List[bytes]:
    """Pack records, in order, into messages of at most `limit` bytes."""
    messages: List[bytes] = []
    batch: List[bytes] = []
    size = 0
    for record in records:
        if size + len(record) > limit and batch:
            messages.append(b"".join(batch))
            batch, size = [], 0
        if len(record) > limit:
            messages.extend(_parts(record, limit - _PART.size))
        else:
            batch.append(record)
            size += len(record)
    if batch:
        messages.append(b"".join(batch))
    return messages


def _parts(record: bytes, limit: int) -> List[bytes]:
    pieces = [record[at : at + limit] for at in range(0, len(record), limit)]
    kinds = [PART] * (len(pieces) - 1) + [LAST_PART]
    return [_PART.pack(kind, len(piece)) + piece for kind, piece in zip(kinds, pieces)]
