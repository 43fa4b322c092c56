"""The labels of a model's outputs: the lines of the files that its configuration names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyserver.model.sequencing import read_data


def read_labels(folder: Path, config: Any) -> dict[str, tuple[str, ...]]:
    """The labels of each output that has a `label_filename`, one a line, in the order of the classes.

    ServerError (INVALID_ARG) for a file that can't be read.
    """
    return {
        output.name: parse_labels(read_data(config.name, folder / output.label_filename))
        for output in config.output
        if output.label_filename
    }


def parse_labels(content: bytes) -> tuple[str, ...]:
    """The lines of `content`; what is not UTF-8 becomes U+FFFD."""
    lines = content.decode("utf-8", "replace").split("\n")
    if not lines[-1]:
        lines.pop()
    return tuple(line.removesuffix("\r") for line in lines)
