"""Progress as people want to see it: a bar on a terminal, now and then a line anywhere else."""

from __future__ import annotations

from typing import TextIO

from pyserver.environment.progress import Progress

WIDTH = 24
LINE_EVERY = 10
"""Per cent from one plain line to the next."""


class Bar:
    """Shows the `Progress` that it is called with, on `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._shown = ""
        self._step = ""
        self._percent = -LINE_EVERY

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        if self._terminal:
            self._draw(drawn(progress))
        else:
            self._print(progress)

    def close(self) -> None:
        """Leave the line: what follows begins on one of its own."""
        if self._terminal and self._shown:
            self._draw("")
            self._stream.write("\r")
            self._stream.flush()

    def _draw(self, text: str) -> None:
        if text != self._shown:
            self._stream.write("\r" + text.ljust(len(self._shown)))
            self._stream.flush()
            self._shown = text

    def _print(self, progress: Progress) -> None:
        percent = 100 * progress.done // progress.total if progress.total else 0
        if progress.step != self._step or percent >= self._percent + LINE_EVERY:
            self._step, self._percent = progress.step, percent
            self._stream.write(f"{progress}\n")
            self._stream.flush()


def drawn(progress: Progress) -> str:
    """One line with a bar, where it can be told how much is done."""
    if not progress.total:
        return str(progress)
    filled = WIDTH * progress.done // progress.total
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}] {100 * progress.done // progress.total:3d}% {progress}"
