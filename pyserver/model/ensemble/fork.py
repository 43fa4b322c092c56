"""A step that answers any number of times, and what is done with each of its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from pyserver.errors import ServerError
from pyserver.model.ensemble.leases import Leases, Shared, leases_of
from pyserver.model.ensemble.part import Part, Teller, tensors_in
from pyserver.model.ensemble.turns import Order
from pyserver.model.items import Item
from pyserver.model.stream import Stream
from pyserver.scheduler.way import Branch
from pyserver.types import InferResponse, Lease, Tensor

if TYPE_CHECKING:
    from pyserver.model.ensemble.run import Run


Walk: TypeAlias = Callable[[dict[str, Tensor], Lease, Teller], Part]
"""Makes the part that takes tensors through the rest of the way."""


class Fork(Part):
    """Takes the streaming step of `branch`, and each of its responses through the rest of the way, side by side.

    What comes of them is said in the order of the responses, an error in the place of the one that it is about. A
    response of the step counts as read when what was made of it is: so a slow reader holds the step's model up.
    """

    __slots__ = ("_branch", "_error", "_held", "_order", "_stream", "_walk")

    def __init__(
        self,
        run: Run,
        branch: Branch,
        tensors: dict[str, Tensor],
        shared: Shared,
        teller: Teller,
        walk: Walk,
    ) -> None:
        super().__init__(run, tensors, shared, teller)
        self._branch = branch
        self._held = shared
        self._walk = walk
        self._order = Order(teller.say, self._finish, run.refusal)
        self._stream: Stream | None = None
        self._error: ServerError | None = None

    def begin(self) -> None:
        """Start the step when it is its turn, and there is room in it."""
        # Were it to run before its turn, its model might wait for a reader who waits for what stands before it.
        self._teller.when_first(lambda: self._run.executor.enter(self._branch.stream, self))

    @property
    def running(self) -> list[int]:
        """The step, until its last response has come, and those of the rest whose models have not answered yet."""
        own = [] if self._stream is None or self._stream.ended else [self._branch.stream]
        return own + self._order.running

    def stop(self) -> None:
        """As any part."""
        if self.over:
            return
        super().stop()
        if self._stream is not None and not self._stream.ended:
            self._stream.cancel()
            self._run.executor.leave(self._branch.stream)
        self._order.drop()

    def _ask(self, number: int) -> None:
        run = self._run
        request = run.step_request(number, self.tensors, self._branch.requested)
        self._stream = run.executor.stream(number, request)
        self._stream.listen(self._heard)

    def _refused(self, number: int, error: BaseException) -> None:
        self._run.executor.leave(number)
        if not self.over:
            self._error = self._run.executor.step_error(number, error)
            self._order.close()

    def _heard(self, item: Item) -> None:
        response, executor, number = item.response, self._run.executor, self._branch.stream
        if item.final:
            executor.leave(number)
        if response.error is not None:
            response.release()
            error = executor.step_error(number, response.error)
            if item.final:
                self._error = error
            else:
                self._order.turn().fail(error)
        elif response.empty:
            response.release()
        else:
            self._go_on(response)
        if item.final:
            self._order.close()

    def _go_on(self, response: InferResponse) -> None:
        """Take one response through the rest of the way."""
        tensors = {**self.tensors, **tensors_in(response, self._branch.asked)}
        turn = self._order.turn()
        turn.part = self._walk(tensors, Leases([*leases_of([response]), self._held.hold()]), turn)
        turn.part.begin()

    def _finish(self) -> None:
        """All of its responses have been dealt with."""
        super().stop()
        if self._error is not None:
            self._teller.fail(self._error)
        else:
            self._teller.end()
