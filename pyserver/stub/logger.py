"""A model's words for the server's log: pb_utils.Logger, and the standard logging, warnings and prints."""

from __future__ import annotations

import enum
import logging
import os
import sys
from types import FrameType
from typing import Callable, Iterable

from pyserver.stub import executing

Sink = Callable[[int, str, str, int], None]
"""Takes a level of `logging`, a message, and the file and line that it comes from."""


class LogLevel(enum.IntEnum):
    """The levels of pb_utils.Logger."""

    INFO = 0
    WARNING = 1
    ERROR = 2
    VERBOSE = 3


_LEVELS = {
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
    LogLevel.VERBOSE: logging.DEBUG,
}


def _to_stderr(level: int, message: str, file: str, line: int) -> None:
    print(f"{logging.getLevelName(level)} {file}:{line} {message}", file=sys.stderr)


_sink: Sink = _to_stderr
_heard = frozenset(_LEVELS.values())
_adopted: list[logging.Logger] = []


def send_to(sink: Sink) -> None:
    """Let everything that Logger is told go to `sink`; until then it goes to stderr."""
    global _sink
    _sink = sink


def hear(levels: Iterable[int]) -> None:
    """Let what Logger is told at these levels of `logging` be heard, and nothing else."""
    global _heard
    _heard = frozenset(levels)
    for adopted in _adopted:
        adopted.setLevel(min(_heard, default=logging.ERROR))


def adopt(name: str) -> None:
    """Let what this logger of `logging` is told, and those below it, go where Logger's words go, at the same levels."""
    adopted = logging.getLogger(name)
    adopted.handlers = [_ToServer()]
    _adopted.append(adopted)
    hear(_heard)


class _ToServer(logging.Handler):
    """Hands records to the server's log, with the place that they come from."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one on, if its level is heard: one between two of them counts as the lower."""
        level = min(max(logging.DEBUG, record.levelno // 10 * 10), logging.ERROR)
        if level not in _heard:
            return
        try:
            _sink(level, self.format(record), record.pathname, record.lineno)
        except Exception:
            self.handleError(record)


def _log(level: LogLevel, message: str, caller: FrameType) -> None:
    if not isinstance(message, str) or not isinstance(level, LogLevel):
        raise TypeError(
            "incompatible function arguments: expected (message: str, level: Logger.<LEVEL> = Logger.INFO), "
            f"got {message!r}, {level!r}"
        )
    number = _LEVELS[level]
    if number in _heard:
        _sink(number, message, caller.f_code.co_filename, caller.f_lineno)


class Logger:
    """Writes to the server's log, under the caller's file and line. TypeError for a message that is not a str."""

    INFO = LogLevel.INFO
    WARNING = LogLevel.WARNING
    ERROR = LogLevel.ERROR
    VERBOSE = LogLevel.VERBOSE

    @staticmethod
    def log(message: str, level: LogLevel = LogLevel.INFO) -> None:
        """Log at a level."""
        _log(level, message, sys._getframe(1))

    @staticmethod
    def log_info(message: str) -> None:
        """Log at INFO."""
        _log(LogLevel.INFO, message, sys._getframe(1))

    @staticmethod
    def log_warn(message: str) -> None:
        """Log at WARNING."""
        _log(LogLevel.WARNING, message, sys._getframe(1))

    @staticmethod
    def log_error(message: str) -> None:
        """Log at ERROR."""
        _log(LogLevel.ERROR, message, sys._getframe(1))

    @staticmethod
    def log_verbose(message: str) -> None:
        """Log at VERBOSE."""
        _log(LogLevel.VERBOSE, message, sys._getframe(1))


def open_streams() -> None:
    """Let prints leave line by line, with the ids of the requests they are about, and `logging` show INFO on stderr.

    The root logger keeps no handler, so that a model's own `logging.basicConfig` still has its effect.
    """
    if "PYSERVER_FOREGROUND" not in os.environ:
        sys.stdout, sys.stderr = executing.marked(sys.stdout), executing.marked(sys.stderr)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    logging.lastResort = handler
    logging.getLogger().setLevel(logging.INFO)
