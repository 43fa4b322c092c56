"""preserve_ordering: an answer is held until all that were sent before it have had theirs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from pyserver.payload import Pending


class Ordering:
    """The order in which requests were sent, and what is held back for its sake."""

    def __init__(self) -> None:
        self._order: deque[Pending] = deque()
        self._held: dict[Pending, list[Callable[[], None]]] = {}

    def sent(self, pendings: Iterable[Pending]) -> None:
        """These go out now, in this order, behind all before them."""
        self._order.extend(pendings)

    def returned(self, pendings: Iterable[Pending]) -> None:
        """These come back: they are in no order any more until they are sent again."""
        for pending in pendings:
            if pending in self._order:
                self._order.remove(pending)
        self.release()

    def tell(self, pending: Pending, outcome: Callable[[], None]) -> None:
        """`outcome` is what `pending` is to hear, in its turn."""
        self._held.setdefault(pending, []).append(outcome)
        self.release()

    def release(self) -> None:
        """Let hear who may; whoever was cancelled and is done holds nobody up."""
        while self._order:
            head = self._order[0]
            for outcome in self._held.pop(head, ()):
                outcome()
            if not head.done:
                return
            self._order.popleft()
