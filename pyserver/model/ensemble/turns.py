"""Answers that are made side by side, and told one after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from pyserver.errors import ServerError
from pyserver.model.ensemble.part import Part
from pyserver.types import InferResponse


class Turn:
    """A place in an order, a `Teller`: what is said here is told once all places before it have ended.

    `part` is whoever speaks here.
    """

    __slots__ = ("_order", "ended", "part", "reached", "said")

    def __init__(self, order: Order) -> None:
        self._order = order
        self.part: Part | None = None
        self.reached: deque[Callable[[], None]] = deque()
        self.said: deque[InferResponse] = deque()
        self.ended = False

    def when_first(self, call: Callable[[], None]) -> None:
        """Call `call` once all places before it have ended, which may be now."""
        self.reached.append(call)
        self._order.go_on()

    def say(self, response: InferResponse) -> None:
        """One more answer."""
        self.said.append(response)
        self._order.go_on()

    def end(self) -> None:
        """No more answers."""
        self.ended = True
        self._order.go_on()

    def fail(self, error: ServerError) -> None:
        """`error` in the place of an answer, and no more."""
        self.said.append(self._order.refusal(error))
        self.end()


class Order:
    """Calls `tell` with each answer, in the order of the turns, and `done` when the last turn has ended.

    `refusal` makes an answer of an error.
    """

    def __init__(
        self,
        tell: Callable[[InferResponse], None],
        done: Callable[[], None],
        refusal: Callable[[ServerError], InferResponse],
    ) -> None:
        self.refusal = refusal
        self._tell = tell
        self._done = done
        self._turns: deque[Turn] = deque()
        self._closed = False

    def turn(self) -> Turn:
        """The next place."""
        turn = Turn(self)
        self._turns.append(turn)
        return turn

    @property
    def running(self) -> list[int]:
        """The steps of whoever speaks whose models have not answered yet."""
        return [number for turn in self._turns if turn.part is not None for number in turn.part.running]

    def close(self) -> None:
        """There are no more places to come."""
        self._closed = True
        self.go_on()

    def drop(self) -> None:
        """Nobody listens any more: stop whoever speaks, release what was not told."""
        turns, self._turns = self._turns, deque()
        self._closed = False
        for turn in turns:
            if turn.part is not None:
                turn.part.stop()
            while turn.said:
                turn.said.popleft().release()

    def go_on(self) -> None:
        """Tell what may be told."""
        while self._turns:
            head = self._turns[0]
            while head.reached:
                head.reached.popleft()()
            while head.said:
                self._tell(head.said.popleft())
            # Whoever was called may have come back here.
            if self._turns and self._turns[0] is head:
                if not head.ended:
                    return
                self._turns.popleft()
        if self._closed:
            self._closed = False
            self._done()
