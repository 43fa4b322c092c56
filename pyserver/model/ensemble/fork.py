"""A step that answers any number of times, and what is done with each of its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyserver.errors import ServerError
from pyserver.model.ensemble.leases import Shared, leases_of
from pyserver.model.ensemble.passage import Passage, tensors_in
from pyserver.model.ensemble.turns import Order, Turn
from pyserver.model.items import Item
from pyserver.model.stream import Stream
from pyserver.scheduler.graph import Way
from pyserver.types import InferResponse, Tensor

if TYPE_CHECKING:
    from pyserver.model.ensemble.run import Run


class Fork:
    """Runs the streaming step of `way` on `tensors`, and the rest of the way for each of its responses, side by side.

    What comes of them is told in the order of the responses, an error in the place of the one that it is about; then
    `done` is called, or `failed` if the step itself failed. A response of the step counts as read when what was made of
    it is: so a slow reader holds the step's model up. `shared` is the memory of what came before.
    """

    def __init__(
        self,
        run: Run,
        way: Way,
        tensors: dict[str, Tensor],
        shared: Shared,
        tell: Callable[[InferResponse], None],
        done: Callable[[], None],
        failed: Callable[[ServerError], None],
    ) -> None:
        assert way.stream is not None
        assert way.rest is not None
        self._run = run
        self._way = way
        self._number = way.stream
        self._rest = way.rest
        self._tensors = tensors
        self._shared = shared
        self._done = done
        self._failed = failed
        self._error: ServerError | None = None
        self._order = Order(tell, self._finish)
        self._stream: Stream | None = None
        self._over = False

    def begin(self) -> None:
        """Start the step, now or when there is room in it."""
        self._run.executor.enter(self._number, self)

    @property
    def running(self) -> list[int]:
        """The step, until its last response has come."""
        return [] if self._stream is None or self._stream.ended else [self._number]

    def start(self, number: int) -> None:
        """Run the step, whose turn it is."""
        run, executor = self._run, self._run.executor
        if self._over:
            executor.leave(number)
            return
        run.begun += 1
        try:
            self._stream = executor.stream(number, run.step_request(number, self._tensors, self._way.requested))
        except Exception as error:
            executor.leave(number)
            self._error = executor.step_error(number, error)
            executor.loop.call_soon(self._order.close)
            return
        self._stream.listen(self._heard)

    def stop(self) -> None:
        """Nobody waits for it any more."""
        if self._over:
            return
        self._over = True
        if self._stream is not None and not self._stream.ended:
            self._stream.cancel()
            self._run.executor.leave(self._number)
        self._order.drop()
        self._shared.release()

    def _heard(self, item: Item) -> None:
        response, executor = item.response, self._run.executor
        if item.final:
            executor.leave(self._number)
        if response.error is not None:
            response.release()
            error = executor.step_error(self._number, response.error)
            if item.final:
                self._error = error
            else:
                self._refuse(self._order.turn(), error)
        elif response.empty:
            response.release()
        else:
            self._branch(response)
        if item.final:
            self._order.close()

    def _branch(self, response: InferResponse) -> None:
        """Take one response through the rest of the way."""
        turn = self._order.turn()
        tensors = {**self._tensors, **tensors_in(response, self._way.asked)}
        lease = Shared([*leases_of([response]), self._shared.hold()])
        run = self._run

        def passed(passage: Passage) -> None:
            run.remove(passage)
            self._passed(passage, lease, turn)

        def failed(error: ServerError) -> None:
            run.remove(passage)
            passage.stop()
            self._refuse(turn, error)

        passage = Passage(run, self._rest.course, tensors, passed, failed, lease)
        run.add(passage)
        passage.begin()

    def _passed(self, passage: Passage, lease: Shared, turn: Turn) -> None:
        if self._rest.stream is None:
            try:
                turn.say(self._run.response(passage))
            except ServerError as error:
                self._refuse(turn, error)
            else:
                turn.end()
            return
        held = Shared([*leases_of(passage.answers.values()), lease])
        fork = Fork(
            self._run, self._rest, passage.tensors, held, turn.say, turn.end, lambda error: self._refuse(turn, error)
        )
        self._run.add(fork)
        # Were it to run before its turn, its model might wait for a reader who waits for what stands before it.
        turn.when_first(fork.begin)

    def _refuse(self, turn: Turn, error: ServerError) -> None:
        """An error in the place of an answer."""
        executor = self._run.executor
        turn.say(InferResponse(executor.model, executor.version, error=error))
        turn.end()

    def _finish(self) -> None:
        """All of its responses have been dealt with."""
        self._over = True
        self._run.remove(self)
        self._shared.release()
        if self._error is not None:
            self._failed(self._error)
        else:
            self._done()
