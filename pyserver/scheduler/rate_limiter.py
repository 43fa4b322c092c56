"""The rate limiter: instances of all models share resources, and hold them while they execute (ModelRateLimiter).

Of the instances that want to execute the one with the least executions times priority goes first, so that an instance
of priority 2 gets half the turns of one of priority 1. What it needs is kept for it until it is free: a small need
never overtakes a large one for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pyserver.errors import ServerError, invalid
from pyserver.payload import Executor, Payload, PayloadOwner, Pending, Timing
from pyserver.types import InferResponse

Resource: TypeAlias = "tuple[str, int]"
"""A resource's name and the device whose it is; GLOBAL for one that is of all devices."""
GLOBAL = -1


@dataclass(frozen=True, slots=True)
class Needs:
    """What an instance holds while it executes, and its priority (1 for the most turns)."""

    resources: Mapping[Resource, int] = field(default_factory=dict)
    priority: int = 1


class RateLimiter:
    """The pools of resources, and who waits for them.

    A pool holds as much as `given` says (by name and device, or by name and GLOBAL for every device), otherwise as much
    as the most demanding instance needs.
    """

    def __init__(self, given: Mapping[Resource, int] | None = None) -> None:
        self._given = dict(given or {})
        self._members: list[LimitedExecutor] = []
        self._waiting: set[LimitedExecutor] = set()
        self._taken: dict[Resource, int] = {}
        self._turn = 0

    def check(self, model: str, needs: Needs) -> None:
        """ServerError (INVALID_ARG) for an instance that could never execute."""
        for resource, count in needs.resources.items():
            most = self._limit(resource)
            if most is not None and count > most:
                raise invalid(
                    f"model '{model}': Resource count for \"{resource[0]}\" is limited to {most}, which will prevent"
                    f" scheduling of one or more model instances, the minimum required count is {count}"
                )

    def join(self, executor: Executor, needs: Needs, wake: Callable[[], None]) -> LimitedExecutor:
        """`executor` as one that executes only while it holds what it needs; `wake` is called when it may."""
        turns = min((member.turns for member in self._members), default=0)
        member = LimitedExecutor(self, executor, needs, wake, turns // needs.priority)
        self._members.append(member)
        self.distribute()
        return member

    def leave(self, member: LimitedExecutor) -> None:
        """`member` executes nothing more than what it has."""
        if member in self._members:
            self._members.remove(member)
        self._waiting.discard(member)
        self.distribute()

    def may(self, member: LimitedExecutor) -> bool:
        """Whether `member` may execute now; it waits from now on if not."""
        if member.holding:
            return False
        self._waiting.add(member)
        left = dict(self._taken)
        for other in sorted(self._waiting, key=_turns):
            fits = self._fits(other, left)
            if other is member:
                if fits:
                    self._waiting.discard(member)
                return fits
            _add(left, other.needs, 1)
        return False

    def take(self, member: LimitedExecutor) -> None:
        """`member` executes."""
        self._waiting.discard(member)
        member.holding = True
        member.executions += 1
        self._turn += 1
        member.last = self._turn
        _add(self._taken, member.needs, 1)

    def give_back(self, member: LimitedExecutor) -> None:
        """`member` has executed."""
        if member.holding:
            member.holding = False
            _add(self._taken, member.needs, -1)

    def distribute(self) -> None:
        """Something is free: let those who wait try again, whoever has had the fewest turns first.

        Who has nothing to do any more waits no more.
        """
        for member in sorted(self._waiting, key=_turns):
            self._waiting.discard(member)
            member.wake()

    def _fits(self, member: LimitedExecutor, taken: Mapping[Resource, int]) -> bool:
        return all(
            taken.get(resource, 0) + count <= self._pool(resource) for resource, count in member.needs.resources.items()
        )

    def _pool(self, resource: Resource) -> int:
        limit = self._limit(resource)
        if limit is not None:
            return limit
        return max((member.needs.resources.get(resource, 0) for member in self._members), default=0)

    def _limit(self, resource: Resource) -> int | None:
        found = self._given.get(resource)
        return self._given.get((resource[0], GLOBAL)) if found is None else found


class LimitedExecutor:
    """An `Executor` (and `PayloadOwner`) around another one: it runs one payload at a time, with its resources held."""

    def __init__(
        self, limiter: RateLimiter, inner: Executor, needs: Needs, wake: Callable[[], None], executions: int
    ) -> None:
        self.name = inner.name
        self.needs = needs
        self.wake = wake
        self.holding = False
        self.executions = executions
        self.last = 0
        self._limiter = limiter
        self._inner = inner
        self._owner: PayloadOwner | None = None

    @property
    def turns(self) -> int:
        """What it has had already, weighed by its priority."""
        return self.executions * self.needs.priority

    @property
    def load(self) -> int:
        """As the inner one's."""
        return self._inner.load

    def room(self, now_ns: int) -> bool:
        """Whether it has nothing to do, and what it needs is free."""
        return not self._inner.load and self._inner.room(now_ns) and self._limiter.may(self)

    def execute(self, payload: Payload) -> None:
        """As the inner one's, which reports to us."""
        self._limiter.take(self)
        self._owner, payload.owner = payload.owner, self
        payload.executor = self._inner
        self._inner.execute(payload)

    def cancel(self, pending: Pending) -> None:
        """As the inner one's."""
        self._inner.cancel(pending)

    def withdraw(self, pending: Pending) -> bool:
        """As the inner one's."""
        return self._inner.withdraw(pending)

    def ahead(self) -> list[Pending]:
        """As the inner one's."""
        return self._inner.ahead()

    def answered(self, pending: Pending, response: InferResponse, final: bool) -> None:
        """For the owner."""
        self._its_owner.answered(pending, response, final)

    def failed(self, pending: Pending, error: ServerError) -> None:
        """For the owner."""
        self._its_owner.failed(pending, error)

    def dropped(self, pending: Pending) -> None:
        """For the owner."""
        self._its_owner.dropped(pending)

    def rescheduled(self, pending: Pending) -> None:
        """For the owner."""
        self._its_owner.rescheduled(pending)

    def executed(self, payload: Payload, timing: Timing | None) -> None:
        """Give the resources back, first to whom they are due."""
        self._limiter.give_back(self)
        self._its_owner.executed(payload, timing)
        self._limiter.distribute()

    def returned(self, payload: Payload) -> None:
        """Give the resources back."""
        payload.owner = self._its_owner
        self._limiter.give_back(self)
        self._its_owner.returned(payload)
        self._limiter.distribute()

    @property
    def _its_owner(self) -> PayloadOwner:
        assert self._owner is not None
        return self._owner


def parse_resources(flags: Iterable[str]) -> dict[Resource, int]:
    """The pools that `--rate-limit-resource=NAME:COUNT[:DEVICE]` flags give; ServerError (INVALID_ARG) for another."""
    given: dict[Resource, int] = {}
    for text in flags:
        name, _, rest = text.partition(":")
        count, _, device = rest.partition(":")
        if not name or not count.isdigit() or (device and not device.isdigit()):
            raise invalid(f"--rate-limit-resource: expected NAME:COUNT or NAME:COUNT:DEVICE, got '{text}'")
        resource = (name, int(device) if device else GLOBAL)
        given[resource] = max(int(count), given.get(resource, 0))
    return given


def _turns(member: LimitedExecutor) -> tuple[int, int]:
    """Of two that have had as many, the one whose last turn was longer ago goes first."""
    return member.turns, member.last


def _add(taken: dict[Resource, int], needs: Needs, sign: int) -> None:
    for resource, count in needs.resources.items():
        taken[resource] = taken.get(resource, 0) + sign * count
