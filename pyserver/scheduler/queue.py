"""The requests that wait for one model: by priority, then in the order of arrival; bounded, and each for its time."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator

from pyserver.errors import ServerError, unavailable
from pyserver.payload import Pending
from pyserver.scheduler.policy import Limits, Priorities, QueuePolicy

RETRY_AFTER = 1.0


class Level:
    """One priority level: those in time, then (with the delay policy) those whose time is over."""

    __slots__ = ("delayed", "items", "live", "policy")

    def __init__(self, policy: QueuePolicy) -> None:
        self.policy = policy
        self.items: deque[Pending] = deque()
        self.delayed: deque[Pending] = deque()
        self.live = 0


class RequestQueue:
    """Requests that wait. `len`, `rows` and `nbytes` count those that somebody still waits for.

    Whoever leaves from the middle (cancelled, expired) is marked, counted out at once, and passed over later.
    """

    def __init__(self, model: str, limits: Limits, priorities: Priorities | None = None) -> None:
        self._model = model
        self._limits = limits
        self._priorities = priorities or Priorities()
        self._levels: dict[int, Level] = {}
        self._order: list[Level] = []
        self._expiries: list[tuple[int, int, Pending]] = []
        self._numbers = itertools.count()
        self._live = 0
        self.rows = 0
        self.nbytes = 0

    def __len__(self) -> int:
        return self._live

    def __iter__(self) -> Iterator[Pending]:
        """Those that wait, in the order in which they are to be served."""
        for level in self._order:
            for pending in itertools.chain(level.items, level.delayed):
                if pending.waiting:
                    yield pending

    def push(self, pending: Pending) -> None:
        """Take `pending`; a ServerError (UNAVAILABLE) that says what is full when there is no room for it."""
        number = self._priorities.level(pending.request.priority)
        level = self._levels.get(number) or self._make_level(number)
        self._check_room(pending, level)
        level.items.append(pending)
        self._count(pending, level, 1)
        pending.deadline_ns = level.policy.deadline(pending.arrived_ns, pending.request.timeout_us)
        if pending.deadline_ns:
            heapq.heappush(self._expiries, (pending.deadline_ns, next(self._numbers), pending))

    def push_back(self, pendings: Iterable[Pending]) -> None:
        """Put requests that were accepted before ahead of all others of their level, in their order; never refused."""
        for pending in reversed([pending for pending in pendings if not pending.cancelled]):
            number = self._priorities.level(pending.request.priority)
            level = self._levels.get(number) or self._make_level(number)
            level.items.appendleft(pending)
            self._count(pending, level, 1)

    def requeue(self, pending: Pending) -> None:
        """Put a request that was accepted before behind all others of its level; never refused."""
        number = self._priorities.level(pending.request.priority)
        level = self._levels.get(number) or self._make_level(number)
        level.items.append(pending)
        self._count(pending, level, 1)

    def pop(self) -> Pending | None:
        """The next request to be served, or None."""
        for level in self._order:
            for items in (level.items, level.delayed):
                while items:
                    pending = items.popleft()
                    if pending.waiting:
                        self._count(pending, level, -1)
                        return pending
        return None

    def forget(self, pending: Pending) -> None:
        """`pending`, which waits here, is waited for no more."""
        self._count(pending, self._levels[self._priorities.level(pending.request.priority)], -1)

    def expired(self, now_ns: int) -> list[Pending]:
        """Take out those whose time is over and who are to be rejected; put back those who are to be delayed."""
        rejected = []
        while self._expiries and self._expiries[0][0] <= now_ns:
            pending = heapq.heappop(self._expiries)[2]
            if not pending.waiting:
                continue
            level = self._levels[self._priorities.level(pending.request.priority)]
            if level.policy.delay:
                level.items.remove(pending)
                level.delayed.append(pending)
            else:
                self.forget(pending)
                rejected.append(pending)
        return rejected

    def next_expiry(self) -> int:
        """When (monotonic nanoseconds) the next request expires; 0 for never."""
        expiries = self._expiries
        while expiries and not expiries[0][2].waiting:
            heapq.heappop(expiries)
        return expiries[0][0] if expiries else 0

    def drain(self) -> list[Pending]:
        """Take everything out."""
        taken = []
        while (pending := self.pop()) is not None:
            taken.append(pending)
        return taken

    def _make_level(self, number: int) -> Level:
        self._levels[number] = level = Level(self._priorities.policy_of(number))
        self._order = [self._levels[key] for key in sorted(self._levels)]
        return level

    def _check_room(self, pending: Pending, level: Level) -> None:
        most = level.policy.max_queue_size
        if most and level.live >= most:
            raise self._full(pending, f"{level.live} requests wait, max_queue_size is {most}")
        limits = self._limits
        if self._live >= limits.requests:
            raise self._full(pending, f"{self._live} requests wait, --max-queue-requests allows {limits.requests}")
        if self._live and self.nbytes + pending.nbytes > limits.nbytes:
            raise self._full(
                pending,
                f"{self.nbytes} bytes wait and this request has {pending.nbytes},"
                f" --max-queue-bytes allows {limits.nbytes}",
            )

    def _full(self, pending: Pending, what: str) -> ServerError:
        request = pending.request.id or "<id_unknown>"
        text = f"[request id: {request}] Exceeds maximum queue size for model '{self._model}': {what}"
        return unavailable(text, RETRY_AFTER)

    def _count(self, pending: Pending, level: Level, sign: int) -> None:
        pending.waiting = sign > 0
        level.live += sign
        self._live += sign
        self.rows += sign * pending.rows
        self.nbytes += sign * pending.nbytes
