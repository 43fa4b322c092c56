"""The server's end of a channel on the event loop: one send a turn, bounded reading, blocks given back on the way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from pyserver.core.records import from_stub
from pyserver.ipc.channel import Channel
from pyserver.ipc.messages import MessageError, pack_free

MESSAGES_A_TURN = 16
"""Read from one stub before others get their turn."""
FREE_DELAY = 0.02
"""Seconds that a block of the stub's may wait for a message to travel with."""
PROMPT_BYTES = 64 * 1024
"""A block of this many bytes does not wait: the stub would touch fresh memory instead."""


class Link:
    """What instances say to their stubs, and hear from them, on the running loop.

    `on_records` gets the records of each message and says whether more are to be expected at once; `on_broken` is told
    why when a message can't be read; `on_end` is called when the stub has closed its side.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_records: Callable[[list[tuple[Any, ...]]], bool],
        on_broken: Callable[[str], None],
        on_end: Callable[[], None],
        parse: Callable[[bytes], list[tuple[Any, ...]]] = from_stub,
    ) -> None:
        self._channel = Channel(sock)
        self._on_records = on_records
        self._on_broken = on_broken
        self._on_end = on_end
        self._parse = parse
        self._loop = asyncio.get_running_loop()
        self._fd = sock.fileno()
        self._open = True
        self._reading = True
        self._writing = False  # the socket is full: the loop says when it is not
        self._scheduled = False
        self._freed: list[int] = []
        self._free_timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._fd, self._on_readable)

    def send(self, record: bytes, idle: bool = False) -> None:
        """Send a record, together with all others of this turn of the loop; at once if the stub is `idle`."""
        self._channel.put(record)
        if idle and not self._scheduled:
            self._flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def give_back(self, offset: int, nbytes: int) -> None:
        """Let the stub reuse a block of its arena; nothing is done after `close`."""
        if not self._open:
            return
        self._freed.append(offset)
        if nbytes >= PROMPT_BYTES:
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._flush)
        elif self._free_timer is None:
            self._free_timer = self._loop.call_later(FREE_DELAY, self._on_free_timer)

    def stop_reading(self) -> None:
        """Hear nothing more: what comes is not to be trusted."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def drain(self) -> None:
        """Hear what was said before the stub died."""
        while self._reading and self._read():
            pass

    def close(self) -> None:
        """Close the channel. What was not sent is dropped."""
        if not self._open:
            return
        self._open = False
        self.stop_reading()
        if self._writing:
            self._loop.remove_writer(self._fd)
        if self._free_timer is not None:
            self._free_timer.cancel()
        self._freed.clear()
        self._channel.close()
        # Who listened holds memory: it goes when he does, not when the collector comes by.
        self._on_records = self._on_broken = self._on_end = _deaf

    def _flush(self) -> None:
        self._scheduled = False
        if not self._open:
            return
        if self._freed:
            self._channel.put(pack_free(self._freed))
            self._freed.clear()
        if not self._channel.flush() and not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._on_writable)

    def _on_writable(self) -> None:
        if self._channel.flush():
            self._writing = False
            self._loop.remove_writer(self._fd)

    def _on_free_timer(self) -> None:
        self._free_timer = None
        if self._freed:
            self._flush()

    def _on_readable(self) -> None:
        for _ in range(MESSAGES_A_TURN):
            if not self._read():
                return

    def _read(self) -> bool:
        """Read and pass on one message; whether there may be another."""
        try:
            message = self._channel.receive()
            if message:
                return self._on_records(self._parse(message)) and self._reading
        except BlockingIOError:
            return False
        except MessageError as error:
            self.stop_reading()
            self._on_broken(str(error))
            return False
        self.stop_reading()
        self._on_end()
        return False


def _deaf(*_: object) -> Any:
    return False
