"""The requests that wait for one model: first in, first out, bounded in number and in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from pyserver.errors import ServerError, unavailable
from pyserver.payload import Pending

RETRY_AFTER = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait: requests, and bytes of their inputs."""

    requests: int
    nbytes: int


class RequestQueue:
    """Requests in the order of their arrival. `len` and `nbytes` count those that somebody still waits for."""

    __slots__ = ("_items", "_limits", "_live", "_model", "nbytes")

    def __init__(self, model: str, limits: Limits) -> None:
        self._model = model
        self._limits = limits
        self._items: deque[Pending] = deque()
        self._live = 0
        self.nbytes = 0

    def __len__(self) -> int:
        return self._live

    def push(self, pending: Pending) -> None:
        """Take `pending`; a ServerError (UNAVAILABLE) that names the flag when there is no room for it."""
        if self._live >= self._limits.requests:
            raise self._full(f"{self._live} requests wait, --max-queue-requests allows {self._limits.requests}")
        if self._live and self.nbytes + pending.nbytes > self._limits.nbytes:
            raise self._full(
                f"{self.nbytes} bytes wait and this request has {pending.nbytes},"
                f" --max-queue-bytes allows {self._limits.nbytes}"
            )
        self._items.append(pending)
        self._live += 1
        self.nbytes += pending.nbytes

    def push_back(self, pendings: Iterable[Pending]) -> None:
        """Put requests that were already accepted before all others, in their order; never refused."""
        live = [pending for pending in pendings if not pending.cancelled]
        self._items.extendleft(reversed(live))
        self._live += len(live)
        self.nbytes += sum(pending.nbytes for pending in live)

    def pop(self) -> Pending | None:
        """The oldest request that somebody still waits for, or None."""
        items = self._items
        while items:
            pending = items.popleft()
            if not pending.cancelled:
                self._live -= 1
                self.nbytes -= pending.nbytes
                return pending
        return None

    def forget(self, pending: Pending) -> None:
        """`pending`, which waits here, has just been cancelled: it counts no more, and `pop` will pass over it."""
        self._live -= 1
        self.nbytes -= pending.nbytes

    def drain(self) -> list[Pending]:
        """Take everything out."""
        taken = []
        while (pending := self.pop()) is not None:
            taken.append(pending)
        return taken

    def _full(self, what: str) -> ServerError:
        return unavailable(f"model '{self._model}': Exceeds maximum queue size: {what}", RETRY_AFTER)
