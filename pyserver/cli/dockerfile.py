"""`pyserver dockerfile FOLDER`: write the Dockerfile of an image that serves a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyserver.cli import image

NAME = "Dockerfile"
IGNORE = "Dockerfile.dockerignore"


def main(arguments: Sequence[str]) -> int:
    """Write it beside the models; 1 if that can't be done."""
    parser = argparse.ArgumentParser("pyserver dockerfile", description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="folder with settings.json and model-settings.json files")
    parser.add_argument(
        "-i", "--include-dockerignore", action="store_true", help=f"write {IGNORE} as well: what to leave out"
    )
    given = parser.parse_args(arguments)
    try:
        write(given.folder, given.folder, given.include_dockerignore)
    except OSError as error:
        print(f"pyserver dockerfile: '{given.folder}': {error.strerror}", file=sys.stderr)
        return 1
    print(f"wrote {given.folder / NAME}; build it with")
    print(f"    pyserver build {given.folder} --tag NAME")
    return 0


def write(folder: Path, target: Path, ignore: bool) -> Path:
    """Write the Dockerfile of `folder` into `target`, with what to leave out if asked; its path. OSError if it can't be
    written, or `folder` is none.
    """
    if not folder.is_dir():
        raise NotADirectoryError(20, "not a folder", str(folder))
    path = target / NAME
    path.write_text(image.dockerfile(folder))
    if ignore:
        (target / IGNORE).write_text(image.IGNORED)
    return path
