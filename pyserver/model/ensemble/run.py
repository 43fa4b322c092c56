"""One request's way through an ensemble: steps started as their inputs come, memory given back as soon as it may be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from pyserver.errors import ErrorCode, ServerError, internal, invalid
from pyserver.model.ensemble.plan import fitted
from pyserver.payload import Payload, Timing
from pyserver.scheduler.graph import Progress
from pyserver.types import InferRequest, InferResponse, Lease, Parameter, Tensor

if TYPE_CHECKING:
    from pyserver.model.ensemble.executor import GraphExecutor


class Leases:
    """Several leases as one."""

    __slots__ = ("_leases",)

    def __init__(self, leases: Iterable[Lease]) -> None:
        self._leases = list(leases)

    def release(self) -> None:
        """Give all of them back; again for nothing."""
        leases, self._leases = self._leases, []
        for lease in leases:
            lease.release()


class Run:
    """Runs the only request of `payload`. How it went is told to the payload's owner from the event loop."""

    __slots__ = ("_answers", "_course", "_executor", "_futures", "_over", "_payload", "_progress", "_request",
                 "_started_ns", "_tensors")  # fmt: skip

    def __init__(self, executor: GraphExecutor, payload: Payload) -> None:
        request = payload.pendings[0].request
        self._executor = executor
        self._payload = payload
        self._request = request
        wanted = None if request.outputs is None else [output.name for output in request.outputs]
        self._course = executor.graph.course(wanted or None)
        self._progress = Progress(self._course)
        self._tensors = {tensor.name: tensor for tensor in request.inputs}
        self._answers: dict[int, InferResponse] = {}
        self._futures: dict[int, asyncio.Future[InferResponse]] = {}
        self._started_ns = executor.clock()
        self._over = False

    def begin(self) -> None:
        """Start the steps that need nothing but the request."""
        if not self._course.first:
            self._executor.loop.call_soon(self._finish)
        for number in self._course.first:
            self._executor.enter(number, self)

    @property
    def running(self) -> list[int]:
        """The steps whose models have not answered yet."""
        return list(self._futures)

    def cancel(self) -> None:
        """Nobody waits for the answer: neither do we for those of the steps."""
        self._end(ServerError(ErrorCode.CANCELLED, f"request to ensemble '{self._executor.model}' was cancelled"))

    def start(self, number: int) -> None:
        """Run a step, whose turn it is."""
        if self._over:
            self._executor.leave(number)
            return
        try:
            future = self._executor.infer(number, self._step_request(number))
        except Exception as error:
            # From the loop, because the owner may be in the middle of sending.
            self._executor.loop.call_soon(self._ended, number, None, error)
            return
        self._futures[number] = future
        future.add_done_callback(partial(self._heard, number))

    def _step_request(self, number: int) -> InferRequest:
        whole, step = self._request, self._course.steps[number]
        ranks = self._executor.ranks[number]
        inputs = []
        for theirs, ours in step.inputs:
            tensor = self._tensors.get(ours)
            if tensor is not None:
                shape = fitted(tensor.shape, ranks.get(theirs, len(tensor.shape)))
                inputs.append(Tensor(theirs, tensor.datatype, shape, tensor.data))
        return InferRequest(
            step.model,
            step.version,
            whole.id,
            inputs,
            self._course.requested[number],
            whole.parameters,
            priority=whole.priority,
            timeout_us=self._time_left(),
            correlation_id=whole.correlation_id,
            flags=whole.flags,
            trace=whole.trace,
        )

    def _time_left(self) -> int:
        """What is left of the request's time-out (microseconds; 0 if it has none, at least 1 if it has)."""
        timeout = self._request.timeout_us
        if not timeout:
            return 0
        spent_ns = self._executor.clock() - self._payload.pendings[0].arrived_ns
        return max(1, timeout - spent_ns // 1000)

    def _heard(self, number: int, future: asyncio.Future[InferResponse]) -> None:
        if future.cancelled():
            self._ended(number, None, ServerError(ErrorCode.CANCELLED, "the request was cancelled"))
        elif (error := future.exception()) is not None:
            self._ended(number, None, error)
        else:
            self._ended(number, future.result(), None)

    def _ended(self, number: int, response: InferResponse | None, error: BaseException | None) -> None:
        self._futures.pop(number, None)
        self._executor.leave(number)
        if self._over:
            if response is not None:
                response.release()
        elif response is None:
            self._end(self._executor.step_error(number, error))
        else:
            self._go_on(number, response)

    def _go_on(self, number: int, response: InferResponse) -> None:
        """Take a step's answer, start what it makes possible, let go of what nobody needs any more."""
        self._answers[number] = response
        answered = {tensor.name: tensor for tensor in response.outputs}
        made = {}
        for theirs, ours in self._course.asked[number]:
            tensor = answered.get(theirs)
            if tensor is not None:
                made[ours] = tensor
        self._tensors.update(made)
        turn = self._progress.finished(number, made)
        for ready in turn.ready:
            self._executor.enter(ready, self)
        for idle in turn.free:
            self._answers.pop(idle).release()
        if self._progress.done:
            self._finish()

    def _finish(self) -> None:
        """Every step has answered."""
        if self._over:
            return
        executor = self._executor
        outputs = [self._output(name) for name in self._course.wanted if name in self._tensors]
        if self._request.outputs and len(outputs) < len(self._course.wanted):
            missing = [name for name in self._course.wanted if name not in self._tensors]
            self._end(executor.error(_missing(missing, self._course.makers, executor)))
            return
        self._over = True
        leases = [answer.lease for answer in self._answers.values() if answer.lease is not None]
        response = InferResponse(
            executor.model,
            executor.version,
            self._request.id,
            outputs,
            self._parameters(),
            leases[0] if len(leases) == 1 else Leases(leases) if leases else None,
        )
        now = executor.clock()
        owner = self._payload.owner
        executor.forget(self._payload)
        owner.answered(self._payload.pendings[0], response, True)
        owner.executed(self._payload, Timing(self._started_ns, 0, now - self._started_ns, 0))

    def _output(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        return Tensor(name, tensor.datatype, fitted(tensor.shape, self._executor.own_ranks[name]), tensor.data)

    def _parameters(self) -> dict[str, Parameter] | None:
        """What the models that made the outputs said beside them; of two that use a name the later step wins."""
        found: dict[str, Parameter] = {}
        for _, answer in sorted(self._answers.items()):
            found.update(answer.parameters or {})
        return found or None

    def _end(self, error: ServerError) -> None:
        """It has failed: stop what runs, give everything back, and say so."""
        if self._over:
            return
        self._over = True
        for future in list(self._futures.values()):
            future.cancel()
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer.release()
        self._tensors.clear()
        self._executor.loop.call_soon(self._tell, error)

    def _tell(self, error: ServerError) -> None:
        owner = self._payload.owner
        self._executor.forget(self._payload)
        owner.failed(self._payload.pendings[0], error)
        owner.executed(self._payload, None)


def _missing(names: list[str], makers: dict[str, int], executor: GraphExecutor) -> ServerError:
    """Triton's words, and who did not do what."""
    whose = ", ".join(f"'{name}' of step '{executor.graph.steps[makers[name]].model}'" for name in names)
    return invalid(
        "unexpected deadlock, at least one output is not set while no more ensemble steps can be made:"
        f" got an answer without {whose}"
    )


def described(error: BaseException | None) -> ServerError:
    """A step's error; what is none of ours is a fault of the server's."""
    return error if isinstance(error, ServerError) else internal(f"unexpected error: {error!r}")
