"""The logger that MLServer's models write to; what it says goes to the server's log, with the model's name."""

from __future__ import annotations

import logging
import sys
from typing import Any

LoggerName = "mlserver"
LoggerFormat = "%(asctime)s [%(name)s] %(levelname)s - %(message)s"
logger = logging.getLogger(LoggerName)


def get_logger() -> logging.Logger:
    """The logger."""
    return logger


def configure_logger(settings: Any = None) -> logging.Logger:
    """Write to stdout, which the server reads; once."""
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter(LoggerFormat))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if getattr(settings, "debug", False) else logging.INFO)
    return logger
