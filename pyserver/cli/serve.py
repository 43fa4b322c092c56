"""`pyserver serve`: serve model repositories until a signal."""

from __future__ import annotations

from collections.abc import Sequence

from pyserver.cli.flags import parse


def main(arguments: Sequence[str]) -> int:
    """Serve as `arguments` say; the exit status."""
    settings = parse(arguments)
    from pyserver.cli.log import configure
    from pyserver.server import serve

    return serve(settings, configure(settings))
