"""Log lines: as Triton's, `I1121 08:05:50.971395 9055 server.py:17] message`, with an ISO 8601 time, or as JSON.

Whoever writes a request can't write a line of the log: control characters are escaped in each of the three.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time

LETTERS = {"DEBUG": "V", "INFO": "I", "WARNING": "W", "ERROR": "E", "CRITICAL": "E"}
LEVELS = {"DEBUG": "verbose", "INFO": "info", "WARNING": "warning", "ERROR": "error", "CRITICAL": "error"}
FIELDS = ("model", "version", "instance", "stream", "requests", "client", "protocol", "method", "path", "status",
          "size", "milliseconds")  # fmt: skip
"""What a record may carry beside its message; a line of JSON has each that is there and isn't empty."""


class Formatter(logging.Formatter):
    """One record, one line; what follows in it, a traceback, on lines of its own, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        file, line = place(record)
        return f"{self.head(record)} {file}:{line}] {told(record)}"

    def head(self, record: logging.LogRecord) -> str:
        """Level, time and process."""
        letter = LETTERS.get(record.levelname, "I")
        stamp = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        return f"{letter}{stamp}.{int(record.created % 1 * 1e6):06d} {os.getpid()}"


class IsoFormatter(Formatter):
    """The same, with the time as ISO 8601 has it, in UTC."""

    def head(self, record: logging.LogRecord) -> str:
        """Time, level and process."""
        letter = LETTERS.get(record.levelname, "I")
        return f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(record.created))} {letter} {os.getpid()}"


class JsonFormatter(logging.Formatter):
    """One record, one line, one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        file, number = place(record)
        line = {
            "time": f"{moment}.{int(record.created % 1 * 1e6):06d}Z",
            "level": LEVELS.get(record.levelname, "info"),
            "logger": record.name,
            "pid": os.getpid(),
            "file": file,
            "line": number,
            "message": record.getMessage(),
        }
        line.update({name: value for name in FIELDS if (value := getattr(record, name, "")) != ""})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


FORMATTERS: dict[str, type[logging.Formatter]] = {
    "default": Formatter,
    "ISO8601": IsoFormatter,
    "json": JsonFormatter,
}


def place(record: logging.LogRecord) -> tuple[str, int]:
    """File and line that a record is from; line 0 for a compiled module, which has no frame: its caller's was found."""
    module = sys.modules.get(record.name)
    if not str(getattr(module, "__file__", "")).endswith(".so"):
        return record.filename, record.lineno
    return f"{record.name.rpartition('.')[2]}.py", 0


def told(record: logging.LogRecord) -> str:
    """The message, and the traceback if there is one, further lines indented."""
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return safe(text).replace("\n", "\n    ")


def safe(text: str) -> str:
    """`text` with all that is not to be printed escaped, but tab and newline: nobody's words can colour a terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\t\n" else escaped(letter) for letter in text)


def escaped(letter: str) -> str:
    """A letter as one would write it in a string."""
    return letter.encode("unicode_escape").decode("ascii")


def single(text: str) -> str:
    """`text` with all that is not to be printed escaped, line ends among it."""
    return text if text.isprintable() else "".join(each if each.isprintable() else escaped(each) for each in text)
