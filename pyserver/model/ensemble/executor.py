"""The executor of an ensemble: instead of sending payloads to a process it runs them through the graph."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from pyserver.errors import ServerError
from pyserver.model.ensemble.run import Run, described
from pyserver.model.stream import Stream
from pyserver.payload import Payload, Pending
from pyserver.scheduler.graph import Graph
from pyserver.scheduler.policy import Limits
from pyserver.scheduler.way import Ways
from pyserver.types import Clock, InferRequest, InferResponse

log = logging.getLogger(__name__)

StepInfer = Callable[[int, InferRequest], "asyncio.Future[InferResponse]"]
"""Run a step's request on its model: a future, or a ServerError at once."""
StepStream = Callable[[int, InferRequest], Stream]
"""As `StepInfer`, for a step that may answer any number of times."""


class Starter(Protocol):
    """Who wants to run a step."""

    def start(self, number: int) -> None:
        """Run step `number`, whose turn it is."""


class Gate:
    """Lets so many at most (0 for any number) into one step at once; the others wait in their order."""

    __slots__ = ("inside", "most", "waiting")

    def __init__(self, most: int) -> None:
        self.most = most
        self.inside = 0
        self.waiting: deque[Starter] = deque()


class GraphExecutor:
    """A `pyserver.payload.Executor`: takes as many requests as `limits` says, runs each one's steps side by side.

    `per_step` is the ensemble's max_inflight_requests: so many requests at once in any step, and as many times that in
    the whole graph as it has steps, so that what is between two steps is bounded as well.
    `ranks` has, by step, the numbers of dimensions of its model's tensors; `own_ranks` those of the ensemble's.
    """

    def __init__(
        self,
        model: str,
        version: str,
        graph: Graph,
        own_ranks: dict[str, int],
        limits: Limits,
        per_step: int,
        infer: StepInfer,
        stream: StepStream,
        clock: Clock,
    ) -> None:
        self.name = model
        self.model = model
        self.version = version
        self.graph = graph
        self.ways = Ways(graph)
        self.own_ranks = own_ranks
        self.ranks: list[dict[str, int]] = [{} for _ in graph.steps]
        self.infer = infer
        self.stream = stream
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.load = 0
        self._nbytes = 0
        self._most = min(limits.requests, per_step * len(graph.steps)) if per_step else limits.requests
        self._most_bytes = limits.nbytes
        self._gates = [Gate(per_step) for _ in graph.steps]
        self._runs: dict[Pending, Run] = {}

    def room(self, now_ns: int) -> bool:
        """Whether another request may enter the graph."""
        return self.load < self._most and self._nbytes < self._most_bytes

    def execute(self, payload: Payload) -> None:
        """Run the request of `payload` through the graph."""
        pending = payload.pendings[0]
        self.load += 1
        self._nbytes += pending.nbytes
        run = self._runs[pending] = Run(self, payload)
        run.begin()

    def cancel(self, pending: Pending) -> None:
        """Stop what runs for `pending`."""
        run = self._runs.get(pending)
        if run is not None:
            run.cancel()

    def withdraw(self, pending: Pending) -> bool:
        """As `cancel`, unless all of its steps have begun."""
        run = self._runs.get(pending)
        return run is not None and run.withdraw()

    def ahead(self) -> list[Pending]:
        """Nothing: what was taken has begun."""
        return []

    def steps_running(self, pending: Pending) -> list[int]:
        """The steps whose models have not answered yet."""
        run = self._runs.get(pending)
        return run.running if run is not None else []

    def forget(self, payload: Payload) -> None:
        """`payload` is over: there is room for another."""
        pending = payload.pendings[0]
        del self._runs[pending]
        self.load -= 1
        self._nbytes -= pending.nbytes

    def enter(self, step: int, starter: Starter) -> None:
        """Have `starter` start `step`, now or when there is room in it."""
        gate = self._gates[step]
        if gate.most and gate.inside >= gate.most:
            gate.waiting.append(starter)
            return
        gate.inside += 1
        starter.start(step)

    def leave(self, step: int) -> None:
        """A request that had entered `step` is through with it."""
        gate = self._gates[step]
        gate.inside -= 1
        while gate.waiting and gate.inside < gate.most:
            gate.inside += 1
            self.loop.call_soon(gate.waiting.popleft().start, step)

    def error(self, error: ServerError) -> ServerError:
        """`error` as the ensemble's: Triton's prefix before it."""
        return ServerError(error.code, f"in ensemble '{self.model}', {error.message}", error.retry_after)

    def step_error(self, step: int, error: BaseException | None) -> ServerError:
        """What a step answered with, and which one it was."""
        if not isinstance(error, ServerError):
            log.error("ensemble '%s', step '%s' failed", self.model, self.graph.steps[step].model, exc_info=error)
        found = described(error)
        text = f"step '{self.graph.steps[step].model}': {found.message}"
        return self.error(ServerError(found.code, text, found.retry_after))
