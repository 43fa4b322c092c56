"""`pyserver`: parse, then serve. What serving needs is imported when it is needed: `--version` is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    from pyserver.cli.flags import parse

    settings = parse(sys.argv[1:] if arguments is None else arguments)
    from pyserver.cli.log import configure
    from pyserver.server import serve

    configure(settings)
    return serve(settings)
