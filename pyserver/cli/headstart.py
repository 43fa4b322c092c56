"""What makes a server ready sooner: done before it imports its own parts, which takes most of the time."""

from __future__ import annotations

import gc

from pyserver.instance import forkprocess
from pyserver.instance.forkprocess import ForkProcess, Kind
from pyserver.settings import Settings


def begin(settings: Settings) -> ForkProcess | None:
    """Start the process that models' processes will be forked from, which imports numpy meanwhile; None where no model
    may need it.

    The garbage collector rests until the server settles: it would look through all that is imported, and find nothing.
    """
    gc.disable()
    loads = settings.model_control_mode != "explicit" or settings.load_model
    if not settings.fork_stubs or not loads:
        return None
    try:
        return forkprocess.start(Kind.usual())
    except OSError:  # whoever needs it will say so
        return None
