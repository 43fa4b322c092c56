"""Run `pyserver infer`."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from pyserver.cli.infer import lines
from pyserver.cli.infer.lines import Line
from pyserver.cli.infer.options import Options, parse
from pyserver.cli.infer.run import Run, Transport
from pyserver.errors import ServerError

STANDARD = Path("-")
LEVELS = (logging.ERROR, logging.INFO, logging.DEBUG)
WIDTH = 24
INTERVAL = 0.1


def main(arguments: Sequence[str]) -> int:
    """Ask, and write; 1 if a line got no answer or a file can't be opened."""
    options = parse(arguments)
    logging.basicConfig(level=LEVELS[options.verbose], stream=sys.stderr, format="%(levelname)s %(message)s")
    try:
        return _run(options)
    except ServerError as error:
        print(f"pyserver infer: {error.message}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"pyserver infer: '{error.filename}': {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: Options) -> int:
    run = Run(options, connect)
    began = time.monotonic()
    with _reading(options.input_data_path) as given, _writing(options.output_data_path) as output:
        total = sum(1 for text in given if text.strip()) if given.seekable() else 0
        if total:
            given.seek(0)
        shown = Counter(sys.stderr, total)
        for text in lines.ordered(run.answers(_counted(given))):
            output.write(text + "\n")
            shown.step()
        shown.close()
    seconds = time.monotonic() - began
    print(f"{shown.done} requests in {seconds:.1f} s, {run.failures} failed", file=sys.stderr)
    return 1 if run.failures else 0


def _counted(given: TextIO) -> Iterator[Line]:
    return lines.read(given)


def connect(options: Options) -> Transport:
    """A connection of the kind that the options name."""
    if options.transport == "grpc":
        from pyserver.cli.infer.grpc import GrpcTransport

        return GrpcTransport(options)
    from pyserver.cli.infer.rest import RestTransport

    return RestTransport(options)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[TextIO]:
    if path == STANDARD:
        yield sys.stdin
        return
    with path.open(encoding="utf-8") as file:
        yield file


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[TextIO]:
    if path == STANDARD:
        yield sys.stdout
        return
    with path.open("w", encoding="utf-8") as file:
        yield file


class Counter:
    """How many of how many, as a bar on a terminal; nothing anywhere else."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream = stream
        self._total = total
        self._terminal = stream.isatty()
        self._next = 0.0
        self.done = 0

    def step(self) -> None:
        """One more."""
        self.done += 1
        if self._terminal and time.monotonic() >= self._next:
            self._next = time.monotonic() + INTERVAL
            self._draw()

    def close(self) -> None:
        """Leave the bar as it is at the end."""
        if self._terminal:
            self._draw()
            self._stream.write("\n")

    def _draw(self) -> None:
        text = f"\r{self.done} requests"
        if self._total:
            filled = WIDTH * self.done // self._total
            text = f"\r[{'#' * filled}{'.' * (WIDTH - filled)}] {self.done} of {self._total} requests"
        self._stream.write(text)
        self._stream.flush()
