"""`pyserver`: what it can do, each command a module that is imported when it is asked for: `--version` is quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from pyserver import __version__

SUBCOMMANDS = {
    "serve": "pyserver.cli.serve",
    "env": "pyserver.cli.env",
    "check": "pyserver.cli.check",
    "debug": "pyserver.cli.debug",
    "completion": "pyserver.cli.completion",
}
"""Each module has a `main(arguments) -> int`, which returns the exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; without a subcommand it serves, as tritonserver does."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = given.pop(0) if given and given[0] in SUBCOMMANDS else "serve"
    if command == "serve" and given == ["--version"]:
        print(f"pyserver {__version__}")
        return 0
    return int(importlib.import_module(SUBCOMMANDS[command]).main(given))
