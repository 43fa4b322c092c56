"""A raw HTTP connection to a real server: sends anything, and reads answers until there are no more."""

from __future__ import annotations

import re
import socket
import time
from types import TracebackType

from tools.process import ServerProcess

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n")


class Raw:
    """One connection; a context manager."""

    def __init__(self, server: ServerProcess, address: str = "", timeout: float = 20) -> None:
        host, _, port = (address or server.http).rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.read = b""

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send it all; what the server no longer wants to read is lost."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer, which has a Content-Length; interim ones are skipped."""
        while True:
            while b"\r\n\r\n" not in self.read:
                self._more()
            head, _, self.read = self.read.partition(b"\r\n\r\n")
            found = _STATUS.match(head)
            assert found is not None, head
            if found[1] != b"100":
                break
        length = _LENGTH.search(head + b"\r\n")
        size = int(length[1]) if length else 0
        while len(self.read) < size:
            self._more()
        body, self.read = self.read[:size], self.read[size:]
        return int(found[1]), body

    def _more(self) -> None:
        piece = self.socket.recv(1 << 16)
        assert piece, f"the connection ended behind {self.read!r}"
        self.read += piece

    def to_the_end(self) -> bytes:
        """Everything until the server closes."""
        try:
            while piece := self.socket.recv(1 << 16):
                self.read += piece
        except ConnectionResetError:
            pass
        return self.read

    def closed_within(self, seconds: float) -> bool:
        """Whether the server ends the connection in time."""
        self.socket.settimeout(seconds)
        began = time.monotonic()
        try:
            self.to_the_end()
        except TimeoutError:
            return False
        return time.monotonic() - began <= seconds


def statuses(data: bytes) -> list[int]:
    """The statuses of the answers in a stream of them."""
    return [int(found) for found in re.findall(rb"(?:^|[^A-Za-z])HTTP/1\.1 ([0-9]{3}) ", data)]
