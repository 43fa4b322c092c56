"""Which levels of a model's Logger are heard, now and from now on, in every stub of a server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

EVERY = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)


def heard(verbose: int, info: bool, warning: bool, error: bool) -> tuple[int, ...]:
    """The levels that these settings (--log-verbose and the others) let through."""
    wanted = (verbose > 0, info, warning, error)
    return tuple(level for level, through in zip(EVERY, wanted, strict=True) if through)


class LogLevels:
    """The levels of `logging` that the server writes to its log, and who is to be told when they change.

    What nobody will read is dropped where it is said. A stub hears of the levels before it imports its model.
    """

    def __init__(self, heard: Iterable[int] = EVERY) -> None:
        self.heard = tuple(sorted(heard))
        self._listeners: set[Callable[[], None]] = set()

    def change(self, heard: Iterable[int]) -> None:
        """From now on these levels are heard, and no others."""
        self.heard = tuple(sorted(heard))
        for listener in tuple(self._listeners):
            listener()

    def tell(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever the levels change, until `forget`."""
        self._listeners.add(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        """Call it no more."""
        self._listeners.discard(listener)
