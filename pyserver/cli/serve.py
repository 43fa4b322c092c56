"""`pyserver serve`: serve model repositories until a signal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pyserver.cli.flags import parse


def main(arguments: Sequence[str]) -> int:
    """Serve as `arguments` say; the exit status."""
    settings = parse(arguments)
    from pyserver.cli.log import configure
    from pyserver.cli.screen import Lines, Screen
    from pyserver.server.process import serve

    if not sys.stderr.isatty():
        return serve(settings, configure(settings), Lines(settings))
    screen = Screen(settings, sys.stderr)
    return serve(settings, configure(settings, None if settings.log_file else screen.handler), screen)
