"""The instances of one version of a model: who of them lives, and what the scheduler is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyserver.instance.supervisor import Supervisor
from pyserver.model.seats import USUAL, Seat
from pyserver.payload import Executor
from pyserver.scheduler.rate_limiter import LimitedExecutor, RateLimiter
from pyserver.scheduler.scheduler import Scheduler, closed


class Instances:
    """The places of model `name`, each with whoever fills it; `seats` says what is special of some, by their names.

    A place that is passive has an instance that gets no requests.
    """

    def __init__(
        self, name: str, scheduler: Scheduler, seats: Mapping[str, Seat] | None, limiter: RateLimiter | None
    ) -> None:
        self.places: Sequence[Supervisor] = ()
        self.seats = dict(seats or {})
        self._name = name
        self._scheduler = scheduler
        self._limiter = limiter
        self._executors: dict[Supervisor, Executor] = {}

    def __iter__(self) -> Iterator[Supervisor]:
        return iter(self.places)

    @property
    def ready(self) -> bool:
        """Whether one lives that would run a request sent now."""
        return any(place.ready and not self._seat(place).passive for place in self.places)

    @property
    def whole(self) -> bool:
        """Whether all live."""
        return all(place.ready for place in self.places)

    @property
    def trouble(self) -> str:
        """Why some are missing; "" if none is."""
        return "; ".join(place.reason for place in self.places if not place.ready and place.reason)

    @property
    def metadata(self) -> dict[str, Any]:
        """What an MLServer model says of itself; empty for others."""
        return next((place.instance.metadata for place in self.places if place.ready), {})

    @property
    def handlers(self) -> list[dict[str, str]]:
        """The REST routes (path, method) that an MLServer model answers itself; empty for others."""
        return next((place.instance.handlers for place in self.places if place.ready), [])

    async def probe(self) -> bool:
        """Whether one lives, and says itself that it is ready where its model has such a method."""
        said = await asyncio.gather(*(place.instance.probe() for place in self.places if place.ready))
        return any(said)

    def changed(self, place: Supervisor) -> None:
        """One became ready, died, or was given up: let the scheduler know what it may use and accept."""
        if self._seat(place).passive:
            return
        if place.ready:
            self._scheduler.add(self._executor(place))
            self._scheduler.open()
            return
        executor = self._executors.pop(place, None)
        if executor is not None:
            self._scheduler.remove(executor)
            if self._limiter is not None and isinstance(executor, LimitedExecutor):
                self._limiter.leave(executor)
        if not any((found.ready or found.coming) and not self._seat(found).passive for found in self.places):
            error = closed(self._name, place.reason)
            self._scheduler.close(error)
            self._scheduler.abandon(error)

    async def stop(self, timeout: float) -> None:
        """End all, as `Supervisor.stop` does."""
        await asyncio.gather(*(place.stop(timeout) for place in self.places))

    def _seat(self, place: Supervisor) -> Seat:
        return self.seats.get(place.spec.name, USUAL)

    def _executor(self, place: Supervisor) -> Executor:
        executor: Executor = place.instance
        if self._limiter is not None:
            executor = self._limiter.join(executor, self._seat(place).needs, self._scheduler.wake)
        self._executors[place] = executor
        return executor
