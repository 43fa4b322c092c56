"""In which order models load: those of an ensemble's steps before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyserver.errors import invalid


class LoadOrder:
    """Who waits for whom; none may, over any number of others, wait for itself."""

    def __init__(self) -> None:
        self._waits: dict[str, Sequence[str]] = {}

    @contextmanager
    def waits(self, name: str, steps: Sequence[str]) -> Iterator[None]:
        """For as long as `name` waits for `steps`. ServerError (INVALID_ARG) if one of them waits for `name`."""
        for step in steps:
            circle = self._way([name, step])
            if circle:
                raise invalid(f"circular dependency between ensembles: {' -> '.join(circle)}")
        self._waits[name] = steps
        try:
            yield
        finally:
            del self._waits[name]

    def _way(self, path: list[str]) -> list[str]:
        """`path` and how it goes on to where it began; [] if it never gets there."""
        if path[-1] == path[0]:
            return path
        for step in self._waits.get(path[-1], ()):
            found = self._way([*path, step])
            if found:
                return found
        return []
