"""One request's way through an ensemble, from its inputs to its answer, or answers where a step streams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyserver.errors import ErrorCode, ServerError, internal, invalid
from pyserver.model.ensemble.fork import Fork
from pyserver.model.ensemble.leases import Shared, as_one, leases_of
from pyserver.model.ensemble.passage import Passage
from pyserver.model.ensemble.plan import fitted
from pyserver.payload import Payload, Timing
from pyserver.scheduler.policy import MICROSECOND, QueuePolicy
from pyserver.scheduler.queue import late
from pyserver.types import InferRequest, InferResponse, Parameter, RequestedOutput, Tensor

if TYPE_CHECKING:
    from pyserver.model.ensemble.executor import GraphExecutor

NO_POLICY = QueuePolicy()


class Run:
    """Runs the only request of `payload`. How it went is told to the payload's owner from the event loop.

    `begun` counts the steps that were started.
    """

    __slots__ = ("_deadline_ns", "_over", "_parts", "_payload", "_request", "_started_ns", "_way", "begun", "executor")

    def __init__(self, executor: GraphExecutor, payload: Payload) -> None:
        pending = payload.pendings[0]
        request = pending.request
        self.executor = executor
        self.begun = 0
        self._payload = payload
        self._request = request
        self._deadline_ns = NO_POLICY.deadline(pending.arrived_ns, request.timeout_us, request.deadline_ns)
        wanted = None if request.outputs is None else [output.name for output in request.outputs]
        self._way = executor.graph.way(wanted or None)
        self._parts: set[Passage | Fork] = set()
        self._started_ns = executor.clock()
        self._over = False

    def begin(self) -> None:
        """Start the steps that need nothing but the request."""
        passed = self._finish if self._way.stream is None else self._forked
        tensors = {tensor.name: tensor for tensor in self._request.inputs}
        passage = Passage(self, self._way.course, tensors, passed, self.end)
        self.add(passage)
        passage.begin()

    @property
    def running(self) -> list[int]:
        """The steps whose models have not answered yet."""
        return [number for part in self._parts for number in part.running]

    def cancel(self) -> None:
        """Nobody waits for the answer: neither do we for those of the steps."""
        self.end(ServerError(ErrorCode.CANCELLED, f"request to ensemble '{self.executor.model}' was cancelled"))

    def withdraw(self) -> bool:
        """As `cancel`, unless every step that is to run once has begun, and nothing is told: whether it is so."""
        if self._over or self.begun >= len(self._way.course.waits) + (self._way.stream is not None):
            return False
        self._stop()
        self.executor.loop.call_soon(self._tell, None)
        return True

    def end(self, error: ServerError) -> None:
        """It has failed: stop what runs, give everything back, and say so."""
        if not self._over:
            self._stop()
            self.executor.loop.call_soon(self._tell, error)

    # What its parts ask.

    def add(self, part: Passage | Fork) -> None:
        """`part` is to be stopped should the run end early."""
        self._parts.add(part)

    def remove(self, part: Passage | Fork) -> None:
        """`part` is over."""
        self._parts.discard(part)

    def step_request(self, number: int, tensors: dict[str, Tensor], requested: list[RequestedOutput]) -> InferRequest:
        """The request to a step's model; ServerError (UNAVAILABLE) when the time of the whole is over."""
        whole, step, executor = self._request, self.executor.graph.steps[number], self.executor
        if 0 < self._deadline_ns <= executor.clock():
            raise late(step.model, "before the turn of model")
        ranks = executor.ranks[number]
        inputs = []
        for theirs, ours in step.inputs:
            tensor = tensors.get(ours)
            if tensor is not None:
                shape = fitted(tensor.shape, ranks.get(theirs, len(tensor.shape)))
                inputs.append(Tensor(theirs, tensor.datatype, shape, tensor.data))
        return InferRequest(
            step.model,
            step.version,
            whole.id,
            inputs,
            requested,
            whole.parameters,
            priority=whole.priority,
            timeout_us=self._time_left(),
            correlation_id=whole.correlation_id,
            flags=whole.flags,
            lease=whole.lease,
            trace=whole.trace,
            deadline_ns=self._deadline_ns,
        )

    def _time_left(self) -> int:
        """What is left until the request's deadline (microseconds; 0 if it has none, at least 1 if it has)."""
        if not self._deadline_ns:
            return 0
        return max(1, (self._deadline_ns - self.executor.clock()) // MICROSECOND)

    def response(self, passage: Passage) -> InferResponse:
        """The answer at the end of the way. ServerError (INVALID_ARG) if an output is missing that was asked for."""
        executor, wanted = self.executor, self._way.wanted
        outputs = [self._output(passage.tensors[name], name) for name in wanted if name in passage.tensors]
        leases = leases_of(passage.answers.values())
        if passage.lease is not None:
            leases.append(passage.lease)
        lease = as_one(leases)
        if self._request.outputs and len(outputs) < len(wanted):
            if lease is not None:
                lease.release()
            raise executor.error(self._missing([name for name in wanted if name not in passage.tensors]))
        parameters = _parameters(passage.answers)
        return InferResponse(executor.model, executor.version, self._request.id, outputs, parameters, lease)

    def _output(self, tensor: Tensor, name: str) -> Tensor:
        return Tensor(name, tensor.datatype, fitted(tensor.shape, self.executor.own_ranks[name]), tensor.data)

    def _missing(self, names: Iterable[str]) -> ServerError:
        """Triton's words, and who did not do what."""
        graph = self.executor.graph
        whose = ", ".join(f"'{name}' of step '{graph.steps[graph.makers[name]].model}'" for name in names)
        return invalid(
            "unexpected deadlock, at least one output is not set while no more ensemble steps can be made:"
            f" got an answer without {whose}"
        )

    # How it ends.

    def _finish(self, passage: Passage) -> None:
        """The only answer is there."""
        self.remove(passage)
        try:
            response = self.response(passage)
        except ServerError as error:
            self.end(error)
        else:
            self._succeed(response)

    def _forked(self, passage: Passage) -> None:
        """All is there that the first streaming step, and what is done with its responses, needs."""
        self.remove(passage)
        held = Shared(leases_of(passage.answers.values()))
        fork = Fork(self, self._way, passage.tensors, held, self._answer, self._answered_all, self.end)
        self.add(fork)
        fork.begin()

    def _answer(self, response: InferResponse) -> None:
        response.id = self._request.id
        self._payload.owner.answered(self._payload.pendings[0], response, False)

    def _answered_all(self) -> None:
        executor = self.executor
        self._succeed(InferResponse(executor.model, executor.version, self._request.id, empty=True))

    def _succeed(self, response: InferResponse) -> None:
        self._over = True
        executor, owner = self.executor, self._payload.owner
        now = executor.clock()
        executor.forget(self._payload)
        owner.answered(self._payload.pendings[0], response, True)
        owner.executed(self._payload, Timing(self._started_ns, 0, now - self._started_ns, 0))

    def _stop(self) -> None:
        self._over = True
        parts, self._parts = self._parts, set()
        for part in parts:
            part.stop()

    def _tell(self, error: ServerError | None) -> None:
        owner = self._payload.owner
        self.executor.forget(self._payload)
        if error is not None:
            owner.failed(self._payload.pendings[0], error)
        owner.executed(self._payload, None)


def _parameters(answers: dict[int, InferResponse]) -> dict[str, Parameter] | None:
    """What the models that made the outputs said beside them; of two that use a name the later step wins."""
    found: dict[str, Parameter] = {}
    for _, answer in sorted(answers.items()):
        found.update(answer.parameters or {})
    return found or None


def described(error: BaseException | None) -> ServerError:
    """A step's error; what is none of ours is a fault of the server's."""
    return error if isinstance(error, ServerError) else internal(f"unexpected error: {error!r}")
