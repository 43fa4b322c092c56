"""`pyserver`: serves, or runs another command; imports what either needs when it needs it, so `--version` is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Without a command it serves, as tritonserver does."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = given.pop(0) if given and given[0] in ("serve", "env") else "serve"
    if command == "env":
        from pyserver.cli.env import run

        return run(given)
    return _serve(given)


def _serve(arguments: Sequence[str]) -> int:
    from pyserver.cli.flags import parse

    settings = parse(arguments)
    from pyserver.cli.log import configure
    from pyserver.server import serve

    configure(settings)
    return serve(settings)
