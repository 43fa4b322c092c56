"""The log of a command, opened as its settings say."""

from __future__ import annotations

import logging
import sys

from pyserver.observe.log import Log
from pyserver.settings import Settings


def configure(settings: Settings, handler: logging.Handler | None = None) -> Log:
    """Send the log to `handler`, or where the settings say; exits with 1 where it can't go there."""
    log = Log(settings)
    try:
        log.open(handler)
    except OSError as error:
        sys.exit(f"pyserver: --log-file {settings.log_file}: {error.strerror}")
    return log
