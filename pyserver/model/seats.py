"""What instance groups say of their instances beside how they are started."""

from __future__ import annotations

from typing import Any, NamedTuple

from pyserver.repository.instances import instances
from pyserver.scheduler.rate_limiter import GLOBAL, Needs, RateLimiter


class Seat(NamedTuple):
    """An instance's place in its model: `passive` ones are never scheduled, `needs` are the rate limiter's."""

    passive: bool
    needs: Needs


USUAL = Seat(False, Needs())


def make_seats(config: Any, limiter: RateLimiter | None) -> dict[str, Seat]:
    """The seats of a normalised ModelConfig message by instance; ServerError if one needs more than there is."""
    seats = {}
    for entry in instances(config):
        resources = {
            (name, GLOBAL if everywhere else entry.device_id): count for name, everywhere, count in entry.resources
        }
        needs = Needs(resources, entry.priority)
        if limiter is not None:
            limiter.check(config.name, needs)
        seats[entry.name] = Seat(entry.passive, needs)
    return seats
