"""The start of a server as people see it: on a terminal a table that fills, anywhere else lines in the log."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from pyserver.cli import welcome
from pyserver.cli.welcome import Row

if TYPE_CHECKING:
    from pyserver.server.server import Server
    from pyserver.settings import Settings

    StreamHandler = logging.StreamHandler[TextIO]
else:
    StreamHandler = logging.StreamHandler  # which before Python 3.11 takes no parameter

log = logging.getLogger(__name__)

TICK = 0.1
TITLES = ("MODEL", "VERSION", "STATE", "INSTANCES", "ENVIRONMENT", "SECONDS")
COLOURS = {"READY": "\x1b[32m", "LOADING": "\x1b[33m", "UNLOADING": "\x1b[33m", "UNAVAILABLE": "\x1b[31m"}
PLAIN, BOLD = "\x1b[0m", "\x1b[1m"
OTHER_LINES = 8
"""Of the terminal, for what is not a model."""
SHOWN_LOGGERS = ("pyserver.model", "pyserver.access")


class Lines:
    """For no terminal: a line for each model, each address, and one to try, once all is up."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def starting(self, server: Server) -> None:
        """The log says what happens meanwhile."""

    def started(self, server: Server) -> None:
        """Everything is up."""
        for row in welcome.rows(server.registry):
            log.info("%s", row)
        log.info("%s", welcome.addresses(server, self._settings)[-1])
        example = welcome.example(server, self._settings)
        if example:
            log.info("try: %s", example)

    def ended(self) -> None:
        """It goes."""


class Screen:
    """For a terminal, `stream`: the models with their states, drawn over and over until all is up."""

    def __init__(self, settings: Settings, stream: TextIO) -> None:
        self._settings = settings
        self._stream = stream
        self._colours = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._moves = os.environ.get("TERM") != "dumb"
        self._drawn: list[str] = []
        self._server: Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began = time.monotonic()
        self.handler = ScreenHandler(self, stream)

    @property
    def busy(self) -> bool:
        """Whether it is being drawn: the table then says what the server's own lines would."""
        return self._server is not None

    def starting(self, server: Server) -> None:
        """Begin to draw."""
        self._server = server
        if self._moves:
            self._tick()

    def started(self, server: Server) -> None:
        """Everything is up: draw for the last time."""
        self._end()
        self._write(self._table(welcome.rows(server.registry), len(welcome.rows(server.registry))))
        lines = ["", *welcome.addresses(server, self._settings)]
        example = welcome.example(server, self._settings)
        self._write([*lines, *(["", "try", f"  {example}"] if example else []), ""])

    def ended(self) -> None:
        """It goes, perhaps before it was up."""
        if self._server is not None:
            self._end(keep=True)

    def hide(self) -> None:
        """Make way for a line of the log."""
        if self._drawn:
            self._stream.write(f"\x1b[{len(self._drawn)}F\x1b[J")
            self._drawn = []

    def show(self) -> None:
        """Come back."""
        if self._server is not None and self._moves:
            self._drawn = self._live(self._server)
            self._write(self._drawn)

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)
        with self.handler.locked():
            if self._server is not None and self._live(self._server) != self._drawn:
                self.hide()
                self.show()

    def _end(self, keep: bool = False) -> None:
        with self.handler.locked():
            if self._timer is not None:
                self._timer.cancel()
            if not keep:
                self.hide()
            self._server, self._drawn = None, []

    def _live(self, server: Server) -> list[str]:
        found = welcome.rows(server.registry)
        ready = sum(row.state == "READY" for row in found)
        lines = self._table(found, max(1, shutil.get_terminal_size().lines - OTHER_LINES))
        return [*lines, f"{ready} of {len(found)} models ready, {time.monotonic() - self._began:.1f} s"]

    def _table(self, found: Sequence[Row], most: int) -> list[str]:
        """The models that are not ready first where there is no room for all."""
        shown = sorted(sorted(found, key=lambda row: row.state == "READY")[:most])
        cells = [TITLES, *(row[:6] for row in shown)]
        widths = [max(len(row[column]) for row in cells) for column in range(6)]
        lines = [self._line(row, widths, "") for row in cells[:1]]
        lines += [self._line(row[:6], widths, row.detail) for row in shown]
        left = len(found) - len(shown)
        return [*lines, f"... and {left} more"] if left else lines

    def _line(self, cells: Sequence[str], widths: Sequence[int], detail: str) -> str:
        """One row, no wider than the terminal, so that it is one line there."""
        texts = [cell.rjust(width) if at == 5 else cell.ljust(width) for at, (cell, width) in
                 enumerate(zip(cells, widths, strict=True))]  # fmt: skip
        line = "  ".join([*texts, detail]).rstrip()[: max(20, shutil.get_terminal_size().columns - 1)]
        if not self._colours:
            return line
        if cells[2] not in COLOURS:
            return f"{BOLD}{line}{PLAIN}"
        return line.replace(cells[2], f"{COLOURS[cells[2]]}{cells[2]}{PLAIN}", 1)

    def _write(self, lines: Sequence[str]) -> None:
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()


class ScreenHandler(StreamHandler):
    """Lines of the log above the table; while that is drawn, the server's own infos are what it shows."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        super().__init__(stream)
        self._screen = screen
        self.addFilter(self._tells_more)

    def locked(self) -> logging._Lock:  # type: ignore[name-defined]
        """While nobody else writes."""
        return self.lock

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self._screen.hide()
        super().emit(record)
        self._screen.show()

    def _tells_more(self, record: logging.LogRecord) -> bool:
        return not self._screen.busy or record.levelno != logging.INFO or record.name in SHOWN_LOGGERS
