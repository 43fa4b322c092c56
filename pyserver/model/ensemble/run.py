"""One request's way through an ensemble, from its inputs to its answer, or answers where a step streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pyserver.errors import ErrorCode, ServerError, internal, invalid
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
    """Runs the only request of `payload`: one passage, whose `Teller` it is.

    How it went is told to the payload's owner from the event loop. `begun` counts the steps that were started.
    """

    __slots__ = ("_deadline_ns", "_passage", "_payload", "_request", "_started_ns", "_way", "begun", "executor")

    def __init__(self, executor: GraphExecutor, payload: Payload) -> None:
        pending = payload.pendings[0]
        request = pending.request
        self.executor = executor
        self.begun = 0
        self._payload = payload
        self._request = request
        self._deadline_ns = NO_POLICY.deadline(pending.arrived_ns, request.timeout_us, request.deadline_ns)
        wanted = None if request.outputs is None else [output.name for output in request.outputs]
        self._way = executor.ways.to(wanted or None)
        tensors = {tensor.name: tensor for tensor in request.inputs}
        self._passage: Passage | None = Passage(self, self._way, tensors, None, self)
        self._started_ns = executor.clock()

    def begin(self) -> None:
        """Start the steps that need nothing but the request."""
        assert self._passage is not None
        self._passage.begin()

    @property
    def running(self) -> list[int]:
        """The steps whose models have not answered yet."""
        return self._passage.running if self._passage is not None else []

    def cancel(self) -> None:
        """Nobody waits for the answer: neither do we for those of the steps."""
        self.fail(ServerError(ErrorCode.CANCELLED, f"request to ensemble '{self.executor.model}' was cancelled"))

    def withdraw(self) -> bool:
        """As `cancel`, unless every step that is to run once has begun, and nothing is told: whether it is so."""
        passage = self._passage
        if passage is None or self.begun >= len(self._way.course.waits) + len(self._way.branches):
            return False
        self._passage = None
        passage.stop()
        self.executor.loop.call_soon(self._tell, None)
        return True

    # What its parts ask.

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

    def response(
        self, wanted: Sequence[str], tensors: dict[str, Tensor], answers: dict[int, InferResponse]
    ) -> InferResponse:
        """The answer at the end of a way. ServerError (INVALID_ARG) if an output is missing that was asked for."""
        executor, request = self.executor, self._request
        outputs = [self._output(tensors[name], name) for name in wanted if name in tensors]
        if request.outputs and len(outputs) < len(wanted):
            raise executor.error(self._missing([name for name in wanted if name not in tensors]))
        return InferResponse(executor.model, executor.version, request.id, outputs, _parameters(answers))

    def refusal(self, error: ServerError) -> InferResponse:
        """An error in the place of one of many answers."""
        return InferResponse(self.executor.model, self.executor.version, self._request.id, error=error)

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

    # What comes of it.

    def say(self, response: InferResponse) -> None:
        """The only answer; one of them where steps stream."""
        if self._way.branches:
            self._payload.owner.answered(self._payload.pendings[0], response, False)
        else:
            self._succeed(response)

    def end(self) -> None:
        """There are no more answers."""
        if self._way.branches:
            executor = self.executor
            self._succeed(InferResponse(executor.model, executor.version, self._request.id, empty=True))

    def fail(self, error: ServerError) -> None:
        """It has failed: stop what runs, give everything back, and say so."""
        passage, self._passage = self._passage, None
        if passage is not None:
            passage.stop()
            self.executor.loop.call_soon(self._tell, error)

    def when_first(self, call: Callable[[], None]) -> None:
        """What is said is told at once."""
        call()

    def _succeed(self, response: InferResponse) -> None:
        self._passage = None
        executor, owner = self.executor, self._payload.owner
        now = executor.clock()
        executor.forget(self._payload)
        owner.answered(self._payload.pendings[0], response, True)
        owner.executed(self._payload, Timing(self._started_ns, 0, now - self._started_ns, 0))

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
