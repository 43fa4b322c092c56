"""Log lines as Triton's: `I1121 08:05:50.971395 9055 server.py:17] message`; control characters are escaped."""

from __future__ import annotations

import logging
import os
import re
import sys
import time

from pyserver.settings import Settings

LETTERS = {"DEBUG": "V", "INFO": "I", "WARNING": "W", "ERROR": "E", "CRITICAL": "E"}
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Formatter(logging.Formatter):
    """One record, one line; a traceback follows on lines of its own, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = time.localtime(record.created)
        micros = int(record.created % 1 * 1e6)
        stamp = f"{time.strftime('%m%d %H:%M:%S', moment)}.{micros:06d}"
        message = safe(record.getMessage()).replace("\n", "\n    ")
        line = f"{LETTERS.get(record.levelname, 'I')}{stamp} {os.getpid()} {record.filename}:{record.lineno}] {message}"
        if record.exc_info:
            line += "\n    " + safe(self.formatException(record.exc_info)).replace("\n", "\n    ")
        return line


def safe(text: str) -> str:
    """`text` without control characters but tab and newline: no request can forge a line or colour a terminal."""
    return CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def configure(settings: Settings) -> None:
    """Send the log where the settings say."""
    handler = logging.FileHandler(settings.log_file) if settings.log_file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    wanted = {
        logging.DEBUG: settings.log_verbose > 0,
        logging.INFO: settings.log_info,
        logging.WARNING: settings.log_warning,
        logging.ERROR: settings.log_error,
    }
    handler.addFilter(lambda record: wanted.get(record.levelno, True))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if settings.log_verbose else logging.INFO)
    for noisy in ("asyncio", "tornado.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
