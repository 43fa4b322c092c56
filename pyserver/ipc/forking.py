"""What a server and a fork server say to each other, over a SOCK_SEQPACKET pair: an order, or an answer, a message.

An order to fork carries the new stub's descriptors (SCM_RIGHTS), in the order of `DESCRIPTORS`. It is answered by the
stub's process id, or by a negative errno. Orders to reap are not answered.
"""

from __future__ import annotations

import struct
from typing import Tuple

DESCRIPTORS = ("channel", "requests", "responses", "calls", "stdout", "stderr")
MAX_ORDER = 4096
"""No order is longer (bytes)."""
FORK = 1
REAP = 2
_ORDER = struct.Struct("<IIi")  # kind, length of the mark, process id
_ANSWER = struct.Struct("<i")


def pack_fork(mark: str, title: str) -> bytes:
    """An order to fork a stub that carries `mark` in its environment and shows `title` in ps."""
    encoded = mark.encode()
    return _ORDER.pack(FORK, len(encoded), 0) + encoded + title.encode()[: MAX_ORDER - _ORDER.size - len(encoded)]


def pack_reap(pid: int) -> bytes:
    """An order to reap stub `pid`, which is dead."""
    return _ORDER.pack(REAP, 0, pid)


def unpack_order(order: bytes) -> Tuple[int, str, str, int]:
    """Its kind, mark, title and process id."""
    kind, length, pid = _ORDER.unpack_from(order)
    text = order[_ORDER.size :]
    return kind, text[:length].decode(), text[length:].decode(errors="replace"), pid


def pack_answer(number: int) -> bytes:
    """The answer to an order to fork: a process id, or a negative errno."""
    return _ANSWER.pack(number)


def unpack_answer(answer: bytes) -> int:
    """What `pack_answer` packed."""
    return int(_ANSWER.unpack(answer)[0])
