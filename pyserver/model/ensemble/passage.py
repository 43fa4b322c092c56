"""One way through a graph: its course, each step started as its inputs come; then the answer, or the branches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pyserver.errors import ErrorCode, ServerError
from pyserver.model.ensemble.fork import Fork
from pyserver.model.ensemble.leases import Shared, as_one, leases_of
from pyserver.model.ensemble.part import Part, Teller, tensors_in
from pyserver.scheduler.course import Progress
from pyserver.scheduler.way import Way
from pyserver.types import InferResponse, Lease, Tensor

if TYPE_CHECKING:
    from pyserver.model.ensemble.run import Run


class Passage(Part):
    """Takes the steps of a way's course, memory given back as soon as it may be; then it says the answer, and ends.

    Where the way has branches it says what comes of these instead, in the order of each of them, as it comes of all; it
    ends when all have, and fails when one does.
    """

    __slots__ = ("_answers", "_forks", "_futures", "_progress", "_way")

    def __init__(self, run: Run, way: Way, tensors: dict[str, Tensor], lease: Lease | None, teller: Teller) -> None:
        super().__init__(run, tensors, lease, teller)
        self._way = way
        self._progress = Progress(way.course)
        self._futures: dict[int, asyncio.Future[InferResponse]] = {}
        self._answers: dict[int, InferResponse] = {}
        self._forks: list[Fork] = []

    def begin(self) -> None:
        """Start the steps that need nothing but what is there."""
        first, executor = self._way.course.first, self._run.executor
        if not first:
            executor.loop.call_soon(self._finish)
        for number in first:
            executor.enter(number, self)

    @property
    def running(self) -> list[int]:
        """The steps whose models have not answered yet."""
        return [*self._futures, *(number for fork in self._forks for number in fork.running)]

    def stop(self) -> None:
        """As any part."""
        super().stop()
        for future in list(self._futures.values()):
            future.cancel()
        for fork in self._forks:
            fork.stop()
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer.release()
        self.tensors.clear()

    # The steps of the course.

    def _ask(self, number: int) -> None:
        run = self._run
        request = run.step_request(number, self.tensors, self._way.course.requested[number])
        self._futures[number] = future = run.executor.infer(number, request)
        future.add_done_callback(partial(self._heard, number))

    def _heard(self, number: int, future: asyncio.Future[InferResponse]) -> None:
        if future.cancelled():
            self._refused(number, ServerError(ErrorCode.CANCELLED, "the request was cancelled"))
        elif (error := future.exception()) is not None:
            self._refused(number, error)
        else:
            self._answered(number, future.result())

    def _refused(self, number: int, error: BaseException) -> None:
        self._leave(number)
        if not self.over:
            self.fail(self._run.executor.step_error(number, error))

    def _answered(self, number: int, response: InferResponse) -> None:
        """Take a step's answer, start what it makes possible, let go of what nobody needs any more."""
        self._leave(number)
        if self.over:
            response.release()
            return
        self._answers[number] = response
        made = tensors_in(response, self._way.course.asked[number])
        self.tensors.update(made)
        turn = self._progress.finished(number, made)
        for ready in turn.ready:
            self._run.executor.enter(ready, self)
        for idle in turn.free:
            self._answers.pop(idle).release()
        if self._progress.done:
            self._finish()

    def _leave(self, number: int) -> None:
        self._futures.pop(number, None)
        self._run.executor.leave(number)

    # What comes after them.

    def _finish(self) -> None:
        if self.over:
            return
        if self._way.branches:
            self._branch_out()
            return
        try:
            response = self._run.response(self._way.wanted, self.tensors, self._answers)
        except ServerError as error:
            self.fail(error)
            return
        response.lease = as_one(self._hand_over())
        self.over = True
        self._teller.say(response)
        self._teller.end()

    def _branch_out(self) -> None:
        run, held = self._run, Shared(self._hand_over())
        self._forks = [
            Fork(run, branch, self.tensors, held.hold(), self, partial(Passage, run, branch.rest))
            for branch in self._way.branches
        ]
        held.release()
        for fork in self._forks:
            fork.begin()

    def _hand_over(self) -> list[Lease]:
        """All that it holds, for others to release."""
        leases = leases_of(self._answers.values())
        if self._lease is not None:
            leases.append(self._lease)
        self._answers, self._lease = {}, None
        return leases

    # What its forks say.

    def say(self, response: InferResponse) -> None:
        """One more answer."""
        self._teller.say(response)

    def end(self) -> None:
        """A fork has ended."""
        if all(fork.over for fork in self._forks):
            self.over = True
            self._teller.end()

    def fail(self, error: ServerError) -> None:
        """A step or a fork has failed: so has all of it."""
        self.stop()
        self._teller.fail(error)

    def when_first(self, call: Callable[[], None]) -> None:
        """As whoever hears of it."""
        self._teller.when_first(call)
