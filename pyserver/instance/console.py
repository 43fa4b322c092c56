"""What a stub prints: its stdout and stderr, line by line into `logging`, however much that is."""

from __future__ import annotations

import asyncio
import logging
import os

from pyserver.types import Clock

log = logging.getLogger("pyserver.model")

MAX_LINE = 8 * 1024
"""Longer lines are cut (bytes)."""
BURST = 2000
"""Lines that may come at once."""
LINES_PER_SECOND = 500
"""Lines that are logged, in the long run; what is printed faster is counted and dropped."""
TAIL_LINES = 40
"""Of stderr, told with a death: what the interpreter says of its threads may be twenty."""
TAIL_BYTES = 8 * 1024
MARK, END = b"\x1e", b"\x1f"
"""Around the request ids before a line (`pyserver.stub.executing`)."""
MAX_MARK = 4096
_READ = 64 * 1024
_LAST_READ = 1 << 20  # of what a dead process left in its pipes
_SECOND = 1_000_000_000

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 9}


class LineBudget:
    """A token bucket of lines, for both streams of a stub together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens = float(BURST)
        self._filled_ns = clock()
        self.dropped = 0

    def take(self, lines: int) -> int:
        """How many of `lines` may be logged now; the others are counted as dropped."""
        now = self._clock()
        self._tokens = min(BURST, self._tokens + (now - self._filled_ns) * LINES_PER_SECOND / _SECOND)
        self._filled_ns = now
        granted = min(lines, int(self._tokens))
        self._tokens -= granted
        self.dropped += lines - granted
        return granted


class LineSplitter:
    """Bytes in, whole lines out; of a line that never ends little more than MAX_LINE bytes are kept."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes, most: int) -> list[bytes]:
        """The lines that end in `data`, without their ends: the first `most` of them."""
        last = data.rfind(b"\n")
        if last < 0:
            self._keep(data)
            return []
        lines = data[:last].split(b"\n", most)[:most]
        if lines:
            lines[0] = self._rest + lines[0]
        self._rest = b""
        self._keep(data[last + 1 :])
        return lines

    def finish(self) -> list[bytes]:
        """What stands after the last line's end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []

    def _keep(self, data: bytes) -> None:
        if len(self._rest) <= MAX_LINE:
            self._rest += data[: MAX_LINE + 1]


class Stream:
    """One pipe of a stub, on the running loop: read a bounded piece at a time, so that a flood starves nobody."""

    def __init__(self, fd: int, budget: LineBudget, extra: dict[str, str]) -> None:
        self.tail = b""
        self._fd = fd
        self._budget = budget
        self._extra = extra
        self._splitter = LineSplitter()
        self._loop = asyncio.get_running_loop()
        if fd >= 0:
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, self._on_readable)

    def close(self) -> None:
        """Log what is left in the pipe, within bounds, and close it."""
        if self._fd < 0:
            return
        left = _LAST_READ
        while left > 0 and (data := self._read()):
            self._take(data)
            left -= len(data)
        self._end()

    def _on_readable(self) -> None:
        data = self._read()
        if data:
            self._take(data)
        elif data is not None:
            self._end()

    def _read(self) -> bytes | None:
        """What there is; b"" at the end of the file, None if there is nothing now."""
        try:
            return os.read(self._fd, _READ)
        except BlockingIOError:
            return None

    def _take(self, data: bytes) -> None:
        self.tail = (self.tail + data[-TAIL_BYTES:])[-TAIL_BYTES:]
        dropped = self._budget.dropped
        granted = self._budget.take(data.count(b"\n"))
        lines = self._splitter.feed(data, granted)
        if granted and dropped:
            self._budget.dropped -= dropped
            log.warning("%s: %d lines of output dropped", label(self._extra), dropped, extra=self._extra)
        self._log(lines)

    def _log(self, lines: list[bytes]) -> None:
        for line in lines:
            requests, text = split_mark(line)
            log.info("%s: %s", label(self._extra, requests), clean(text), extra={**self._extra, "requests": requests})

    def _end(self) -> None:
        if self._fd >= 0:
            self._log(self._splitter.finish())
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


class Console:
    """Both streams of one stub, by their descriptors; -1 for one that is not ours to read.

    The records it logs carry `model`, `version`, `instance`, `stream`, and `requests`, the ids of those that were
    executed when the line was begun.
    """

    def __init__(self, labels: dict[str, str], clock: Clock, stdout: int = -1, stderr: int = -1) -> None:
        self._budget = LineBudget(clock)
        self._labels = labels
        self._stdout = Stream(stdout, self._budget, {**labels, "stream": "stdout"})
        self._stderr = Stream(stderr, self._budget, {**labels, "stream": "stderr"})

    def admits(self) -> bool:
        """Whether one more line may be logged for this stub: what it says by other ways counts as well."""
        return self._budget.take(1) == 1

    def last_lines(self) -> list[str]:
        """The last lines on stderr, oldest first: what a process says before it dies."""
        return [clean(split_mark(line)[1]) for line in self._stderr.tail.split(b"\n")[-TAIL_LINES - 1 :] if line]

    def close(self) -> None:
        """Log what is left in the pipes and close them."""
        self._stdout.close()
        self._stderr.close()
        if self._budget.dropped:
            dropped = self._budget.dropped
            log.warning("%s: %d lines of output dropped", label(self._labels), dropped, extra=self._labels)


def label(labels: dict[str, str], requests: str = "") -> str:
    """Whose words a line of the log is: `model/version instance [request ids]`."""
    who = f"{labels['model']}/{labels['version']} {labels['instance']}"
    return f"{who} [{requests}]" if requests else who


def split_mark(line: bytes) -> tuple[str, bytes]:
    """The request ids that the stub put before a line, and the line; "" where it put none."""
    if line[:1] == MARK:
        identities, end, text = line[1:].partition(END)
        if end and len(identities) <= MAX_MARK:
            return escaped(identities.decode("utf-8", "backslashreplace")), text
    return "", line


def clean(line: bytes) -> str:
    """A line of output as it may stand in a log: cut at MAX_LINE, bytes that are no text escaped."""
    text = escaped(line[:MAX_LINE].decode("utf-8", "backslashreplace").rstrip("\r"))
    return text if len(line) <= MAX_LINE else f"{text} ... (cut)"


def escaped(text: str) -> str:
    """`text` without control characters: one line that can't pass for two."""
    return text if text.isprintable() else text.translate(_CONTROLS)
