"""The log of the server: where it goes, what it says, how it looks; all but the first can be changed while it runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pyserver.errors import invalid, unsupported
from pyserver.observe.formats import FORMATTERS
from pyserver.settings import Settings

NOISY = ("asyncio", "tornado.access", "opentelemetry")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is logged: the fields are those of the V2 logging extension, in its order."""

    log_file: str = ""
    log_info: bool = True
    log_warning: bool = True
    log_error: bool = True
    log_verbose_level: int = 0
    log_format: str = "default"


class Log:
    """The settings of the log, applied to `logging`'s root; `listeners` hear of each change."""

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self.wanted = Wanted(
            settings.log_file,
            settings.log_info,
            settings.log_warning,
            settings.log_error,
            settings.log_verbose,
            settings.log_format,
        )
        self.listeners: list[Callable[[Log], None]] = []
        self.handler: logging.Handler | None = None

    @property
    def level(self) -> int:
        """The lowest level of `logging` that shows."""
        wanted = self.wanted
        if wanted.log_verbose_level:
            return logging.DEBUG
        shown = ((wanted.log_info, logging.INFO), (wanted.log_warning, logging.WARNING))
        return next((level for on, level in shown if on), logging.ERROR)

    def open(self, handler: logging.Handler | None = None) -> None:
        """Send the log to `handler`, or where the settings say. OSError if the file can't be written."""
        file = self.wanted.log_file
        self.handler = handler or (_file(file) if file else logging.StreamHandler(sys.stderr))
        self.handler.addFilter(self._shows)
        logging.getLogger().handlers[:] = [self.handler]
        for noisy in NOISY:
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self._apply()

    def document(self) -> dict[str, Any]:
        """The settings as the logging extension shows them."""
        return {name: getattr(self.wanted, name) for name in Wanted.__slots__}

    def update(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change settings, all of them or none, and return them; keys that are none are ignored, as by Triton.

        ServerError: INVALID_ARG for a value that can't be, UNSUPPORTED for another file.
        """
        usual = Wanted()
        known = {name: value for name, value in changes.items() if name in Wanted.__slots__}
        for name, value in known.items():
            _check(name, value, type(getattr(usual, name)))
        self.wanted = replace(self.wanted, **known)
        self._apply()
        for listener in self.listeners:
            listener(self)
        return self.document()

    def _apply(self) -> None:
        if self.handler is not None:
            self.handler.setFormatter(FORMATTERS[self.wanted.log_format]())
            logging.getLogger().setLevel(self.level)

    def _shows(self, record: logging.LogRecord) -> bool:
        wanted, level = self.wanted, record.levelno
        if level >= logging.ERROR:
            return wanted.log_error
        if level >= logging.WARNING:
            return wanted.log_warning
        return wanted.log_info if level >= logging.INFO else wanted.log_verbose_level > 0


def _file(path: str) -> logging.Handler:
    """A file that may be moved away, as logrotate does, while it is written."""
    from logging.handlers import WatchedFileHandler

    return WatchedFileHandler(path)


def _check(name: str, value: object, kind: type) -> None:
    if name == "log_file":
        raise unsupported("log file location can not be updated through network protocol")
    if type(value) is not kind or (kind is int and not 0 <= int(str(value)) < 1 << 32):
        words = {bool: "boolean", int: "unsigned", str: "string"}[kind]
        raise invalid(f"attempt to access JSON non-{words} as {words}: '{name}' is {value!r}")
    if name == "log_format" and value not in FORMATTERS:
        raise invalid(f"invalid argument for --log_format, got: {value}, expected one of {', '.join(FORMATTERS)}")
