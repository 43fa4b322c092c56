"""The requests that wait for one model: by priority, then in the order of arrival; bounded, and each for its time."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from pyserver.errors import ServerError, unavailable
from pyserver.payload import Pending
from pyserver.scheduler.policy import Limits, Priorities, QueuePolicy

RETRY_AFTER = 1.0
_FEW = 64


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
    `ahead` names those who have left and not begun: for a level's `max_queue_size` they wait still.
    """

    def __init__(self, model: str, limits: Limits, priorities: Priorities | None = None) -> None:
        self.ahead: Callable[[], list[Pending]] = list
        self._model = model
        self._limits = limits
        self._priorities = priorities or Priorities()
        self._levels: dict[int, Level] = {}
        self._order: list[Level] = []
        self._expiries: list[tuple[int, int, Pending]] = []
        self._sparse = _FEW
        self._numbers = itertools.count()
        self._live = 0
        self.rows = 0
        self.nbytes = 0

    @property
    def timed(self) -> bool:
        """Whether every request has a deadline."""
        return bool(self._priorities.policy.timeout_us)

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
        self.admit(pending).items.append(pending)

    def admit(self, pending: Pending) -> Level:
        """As `push`, but for its place in the order, which is the caller's business: `forget` takes it out."""
        request = pending.request
        number = self._priorities.level(request.priority)
        level = self._levels.get(number) or self._make_level(number)
        if request.deadline_ns and request.deadline_ns <= pending.arrived_ns:
            raise late(self._model)
        self._check_room(pending, level)
        self._count(pending, level, 1)
        pending.deadline_ns = level.policy.deadline(pending.arrived_ns, request.timeout_us, request.deadline_ns)
        if pending.deadline_ns:
            self._watch(pending)
        return level

    def readmit(self, pending: Pending) -> None:
        """As `admit`, for one that was accepted before: never refused."""
        number = self._priorities.level(pending.request.priority)
        self._count(pending, self._levels.get(number) or self._make_level(number), 1)

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
        """Those whose time is over and who are to be rejected, taken out; who is to be delayed goes to the end.

        Among them are those who have left already, and may have begun: whoever sent them knows.
        """
        rejected = []
        while self._expiries and self._expiries[0][0] <= now_ns:
            pending = heapq.heappop(self._expiries)[2]
            if _over(pending):
                continue
            level = self._levels[self._priorities.level(pending.request.priority)]
            if level.policy.delay and pending.deadline_ns != pending.request.deadline_ns:
                self._delay(pending, level)
                continue
            if pending.waiting:
                self.forget(pending)
            rejected.append(pending)
        return rejected

    def _delay(self, pending: Pending, level: Level) -> None:
        """Behind all others of its level; only the deadline of a request that it is part of still counts."""
        if pending.waiting:
            level.items.remove(pending)
            level.delayed.append(pending)
        pending.deadline_ns = pending.request.deadline_ns
        if pending.deadline_ns:
            self._watch(pending)

    def next_expiry(self) -> int:
        """When (monotonic nanoseconds) the next request expires; 0 for never."""
        expiries = self._expiries
        while expiries and _over(expiries[0][2]):
            heapq.heappop(expiries)
        return expiries[0][0] if expiries else 0

    def drain(self) -> list[Pending]:
        """Take everything out."""
        taken = []
        while (pending := self.pop()) is not None:
            taken.append(pending)
        return taken

    def _watch(self, pending: Pending) -> None:
        """Remember when it expires; forget, now and then, those who were served long before."""
        expiries = self._expiries
        heapq.heappush(expiries, (pending.deadline_ns, next(self._numbers), pending))
        if len(expiries) > self._sparse:
            expiries[:] = [entry for entry in expiries if not _over(entry[2])]
            heapq.heapify(expiries)
            self._sparse = 2 * len(expiries) + _FEW

    def _make_level(self, number: int) -> Level:
        self._levels[number] = level = Level(self._priorities.policy_of(number))
        self._order = [self._levels[key] for key in sorted(self._levels)]
        return level

    def _check_room(self, pending: Pending, level: Level) -> None:
        most = level.policy.max_queue_size
        if most and (waiting := level.live + self._ahead_of(level)) >= most:
            raise self._full(pending, f"{waiting} requests wait, max_queue_size is {most}")
        limits = self._limits
        if self._live >= limits.requests:
            raise self._full(pending, f"{self._live} requests wait, --max-queue-requests allows {limits.requests}")
        if self._live and self.nbytes + pending.nbytes > limits.nbytes:
            raise self._full(
                pending,
                f"{self.nbytes} bytes wait and this request has {pending.nbytes},"
                f" --max-queue-bytes allows {limits.nbytes}",
            )

    def _ahead_of(self, level: Level) -> int:
        ahead = self.ahead()
        if len(self._levels) == 1:
            return len(ahead)
        return sum(self._levels[self._priorities.level(other.request.priority)] is level for other in ahead)

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


def late(model: str, where: str = "in the queue of model") -> ServerError:
    """What a request gets whose time is over."""
    return unavailable(f"Request timeout expired {where} '{model}'")


def _over(pending: Pending) -> bool:
    return pending.done or pending.cancelled
