"""Which requests the main thread executes right now: what is printed meanwhile is theirs.

A line on stdout or stderr that belongs to requests begins with MARK, their ids, and END, which the server takes off.
"""

from __future__ import annotations

import contextvars
import io
import threading
from typing import Any, Sequence

MARK = "\x1e"
END = "\x1f"
_MOST_IDS = 8
_MOST_CHARACTERS = 256

requests: Sequence[Any] = ()
"""Set by whoever executes, for as long as it does."""
beside: contextvars.ContextVar[Sequence[int]] = contextvars.ContextVar("beside", default=())
"""The keys of the requests of a coroutine that goes on beside the main thread."""


def keys() -> list[int]:
    """The keys of the requests that the caller works for, as far as that is certain: a thread of the model's own may
    work for any, or for none.
    """
    if threading.current_thread() is threading.main_thread():
        return [request.key for request in requests]
    return list(beside.get())


def ids() -> str:
    """The ids of the requests that the calling thread executes, on one line, with commas; "" if there are none."""
    if not requests or threading.current_thread() is not threading.main_thread():
        return ""
    named = [identity for identity in (request.request_id() for request in requests[: _MOST_IDS + 1]) if identity]
    text = ",".join(named[:_MOST_IDS])[:_MOST_CHARACTERS]
    if not text.isprintable():
        text = "".join(found if found.isprintable() else f"\\x{ord(found):02x}" for found in text)
    return text + ",..." if len(named) > _MOST_IDS else text


def trace() -> int:
    """The number of the trace of what the calling thread executes, of the first request that has one; 0 for none."""
    if threading.current_thread() is not threading.main_thread():
        return 0
    return next((number for number in (request.trace().number for request in requests) if number), 0)


class MarkedStream(io.TextIOWrapper):
    """A text stream that puts the ids before each line that is begun while requests are executed."""

    _at_start = True

    def write(self, text: str) -> int:
        """As any text stream's."""
        identities = ids() if requests and isinstance(text, str) and text else ""
        if not identities:
            written = super().write(text)
            if text:
                self._at_start = text.endswith("\n")
            return written
        mark = f"{MARK}{identities}{END}"
        marked = text[:-1].replace("\n", f"\n{mark}") + text[-1]
        super().write(mark + marked if self._at_start else marked)
        self._at_start = text.endswith("\n")
        return len(text)


def marked(stream: Any) -> Any:
    """A marked stream over the same buffer, line by line; `stream` itself if it has none."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    return MarkedStream(stream.buffer, stream.encoding, "backslashreplace", "\n", line_buffering=True)
