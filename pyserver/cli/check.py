"""`pyserver check REPOSITORY ...`: every problem of every model, without serving."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pyserver.errors import ServerError
from pyserver.repository.findings import Finding, look_at
from pyserver.repository.repository import ModelRepository


def main(arguments: Sequence[str]) -> int:
    """Print the problems; 1 if there are any, 0 if not."""
    parser = argparse.ArgumentParser(
        "pyserver check", description="Print every problem of every model, with file and line; nothing is run."
    )
    parser.add_argument("repository", nargs="+", type=Path, help="folder of models")
    parser.add_argument("--backend-directory", action="append", default=[], type=Path, metavar="DIR")
    parser.add_argument("--model-config-name", default="", metavar="NAME", help="take configs/NAME.pbtxt where it is")
    given = parser.parse_args(arguments)
    repository = ModelRepository(given.repository)
    try:
        folders = repository.scan()
    except ServerError as error:
        print(error.message)
        return 1
    found: list[Finding] = []
    for name in sorted(folders):
        found += look_at(folders[name], given.backend_directory, given.model_config_name)
    for finding in found:
        print(finding)
    print(f"{len(folders)} models, {len(found)} problems")
    return 1 if found else 0
