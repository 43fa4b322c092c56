"""One way through the steps of a course: each started as its inputs come, memory given back as soon as it may be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pyserver.errors import ErrorCode, ServerError
from pyserver.scheduler.graph import Course, Progress
from pyserver.types import InferResponse, Lease, Tensor

if TYPE_CHECKING:
    from pyserver.model.ensemble.run import Run


class Passage:
    """Runs the steps of `course` for the request of `run`; then `passed` is called, or `failed`, from the event loop.

    `tensors` are those there are, by their names in the ensemble, `answers` those of steps that are still needed.
    `lease` is what it holds of what came before it.
    """

    __slots__ = (
        "_course",
        "_failed",
        "_futures",
        "_over",
        "_passed",
        "_progress",
        "_run",
        "answers",
        "lease",
        "tensors",
    )

    def __init__(
        self,
        run: Run,
        course: Course,
        tensors: dict[str, Tensor],
        passed: Callable[[Passage], None],
        failed: Callable[[ServerError], None],
        lease: Lease | None = None,
    ) -> None:
        self._run = run
        self._course = course
        self._passed = passed
        self._failed = failed
        self._progress = Progress(course)
        self._futures: dict[int, asyncio.Future[InferResponse]] = {}
        self._over = False
        self.tensors = tensors
        self.answers: dict[int, InferResponse] = {}
        self.lease = lease

    def begin(self) -> None:
        """Start the steps that need nothing but what is there."""
        if not self._course.first:
            self._run.executor.loop.call_soon(self._finish)
        for number in self._course.first:
            self._run.executor.enter(number, self)

    @property
    def running(self) -> list[int]:
        """The steps whose models have not answered yet."""
        return list(self._futures)

    def start(self, number: int) -> None:
        """Run a step, whose turn it is."""
        run, executor = self._run, self._run.executor
        if self._over:
            executor.leave(number)
            return
        run.begun += 1
        try:
            future = executor.infer(number, run.step_request(number, self.tensors, self._course.requested[number]))
        except Exception as error:
            # From the loop, because the owner may be in the middle of sending.
            executor.loop.call_soon(self._ended, number, None, error)
            return
        self._futures[number] = future
        future.add_done_callback(partial(self._heard, number))

    def stop(self) -> None:
        """Nobody waits for it any more: cancel what runs, give everything back."""
        self._over = True
        for future in list(self._futures.values()):
            future.cancel()
        answers, self.answers = self.answers, {}
        for answer in answers.values():
            answer.release()
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.release()
        self.tensors.clear()

    def _heard(self, number: int, future: asyncio.Future[InferResponse]) -> None:
        if future.cancelled():
            self._ended(number, None, ServerError(ErrorCode.CANCELLED, "the request was cancelled"))
        elif (error := future.exception()) is not None:
            self._ended(number, None, error)
        else:
            self._ended(number, future.result(), None)

    def _ended(self, number: int, response: InferResponse | None, error: BaseException | None) -> None:
        self._futures.pop(number, None)
        executor = self._run.executor
        executor.leave(number)
        if self._over:
            if response is not None:
                response.release()
        elif response is None:
            self._failed(executor.step_error(number, error))
        else:
            self._go_on(number, response)

    def _go_on(self, number: int, response: InferResponse) -> None:
        """Take a step's answer, start what it makes possible, let go of what nobody needs any more."""
        self.answers[number] = response
        made = tensors_in(response, self._course.asked[number])
        self.tensors.update(made)
        turn = self._progress.finished(number, made)
        for ready in turn.ready:
            self._run.executor.enter(ready, self)
        for idle in turn.free:
            self.answers.pop(idle).release()
        if self._progress.done:
            self._finish()

    def _finish(self) -> None:
        """Every step has answered."""
        if not self._over:
            self._over = True
            self._passed(self)


def tensors_in(response: InferResponse, asked: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    """The tensors of a step's response by their names in the ensemble; `asked` pairs the step's names with these."""
    answered = {tensor.name: tensor for tensor in response.outputs}
    return {ours: answered[theirs] for theirs, ours in asked if theirs in answered}
