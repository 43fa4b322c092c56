"""The models of an ensemble's steps, whose answers the test gives, and whoever hears of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from pyserver.errors import ServerError, unavailable
from pyserver.model.ensemble.executor import GraphExecutor
from pyserver.model.items import Item
from pyserver.payload import Payload, Pending, Timing
from pyserver.scheduler.graph import Graph
from pyserver.scheduler.policy import Limits
from pyserver.scheduler.way import Ways
from pyserver.types import InferRequest, InferResponse, Tensor

Path = tuple[tuple[int, int], ...]
"""Streaming steps, and the place of a response among those of each, from the first one on."""
TURNS = 20
"""Turns of the loop in which everything that was put off is done."""


class Lease:
    """A lease that knows what it holds, of which responses of which streams, and how often it was given back."""

    def __init__(self, path: Path = ()) -> None:
        self.data = bytearray(4)
        self.path = path
        self.released = 0

    def release(self) -> None:
        self.released += 1


class Owner:
    """What a scheduler would hear."""

    def __init__(self) -> None:
        self.answers: list[InferResponse] = []
        self.errors: list[ServerError] = []
        self.timings: list[Timing | None] = []
        self.finals = 0

    def answered(self, pending: Pending, response: InferResponse, final: bool) -> None:
        assert not self.timings
        assert not self.finals, "the last is the last"
        self.answers.append(response)
        self.finals += final

    def failed(self, pending: Pending, error: ServerError) -> None:
        self.errors.append(error)

    def executed(self, payload: Payload, timing: Timing | None) -> None:
        self.timings.append(timing)

    def returned(self, payload: Payload) -> None:
        raise AssertionError("an ensemble gives nothing back")

    def dropped(self, pending: Pending) -> None:
        raise AssertionError("an ensemble drops nothing")

    def rescheduled(self, pending: Pending) -> None:
        raise AssertionError("no model of an ensemble's own")


class Streaming:
    """A `Stream` whose items the test gives."""

    def __init__(self, number: int, request: InferRequest, path: Path) -> None:
        self.number = number
        self.request = request
        self.path = path
        self.count = 0
        self.ended = False
        self.cancelled = False
        self.listener: Callable[[Item], None]

    def listen(self, listener: Callable[[Item], None]) -> None:
        self.listener = listener

    def cancel(self) -> None:
        self.ended = self.cancelled = True

    def give(self, response: InferResponse, final: bool) -> None:
        self.ended = final
        self.listener(Item(response, final))


class Models:
    """The composing models: each request waits in `open`, or in `streaming`, until the test answers it."""

    def __init__(
        self, graph: Graph, per_step: int = 0, requests: int = 100, streams: frozenset[int] = frozenset()
    ) -> None:
        self.graph = graph
        self.now = 0
        self.open: list[tuple[int, InferRequest, asyncio.Future[InferResponse]]] = []
        self.leases: list[Lease] = []
        self.refuse: Callable[[int], bool] = lambda number: False
        limits = Limits(requests, 1 << 20)
        self.executor = GraphExecutor(
            "E", "1", graph, dict.fromkeys([*graph.inputs, *graph.outputs], 1), limits, per_step, self.infer,
            self.stream, lambda: self.now,
        )  # fmt: skip
        self.executor.ways = Ways(graph, streams)
        self.streaming: list[Streaming] = []

    def infer(self, number: int, request: InferRequest) -> asyncio.Future[InferResponse]:
        self.check_inputs(request)
        if self.refuse(number):
            raise unavailable("full", 1.0)
        future: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()
        self.open.append((number, request, future))
        return future

    def stream(self, number: int, request: InferRequest) -> Any:
        self.check_inputs(request)
        if self.refuse(number):
            raise unavailable("full", 1.0)
        self.streaming.append(Streaming(number, request, self.path(request.inputs)))
        return self.streaming[-1]

    def path(self, tensors: list[Tensor]) -> Path:
        """Of what all `tensors` come: no two are of different responses of one stream, or of streams side by side."""
        paths = [lease.path for tensor in tensors for lease in self.leases if lease.data is tensor.data]
        longest = max(paths, key=len, default=())
        assert all(path == longest[: len(path)] for path in paths)
        return longest

    def check_inputs(self, request: InferRequest) -> None:
        """Nothing that a step reads has been given back."""
        freed = [lease.data for lease in self.leases if lease.released]
        assert not [tensor for tensor in request.inputs if any(tensor.data is data for data in freed)]

    def answer(self, at: int = 0, without: tuple[str, ...] = ()) -> None:
        """Answer an open request with all that it asks for."""
        _, request, future = self.open.pop(at)
        if future.cancelled():
            return
        future.set_result(self.made(request, self.path(request.inputs), without))

    def made(self, request: InferRequest, path: Path, without: tuple[str, ...] = ()) -> InferResponse:
        """All that `request` asks for."""
        self.check_inputs(request)
        lease = Lease(path)
        self.leases.append(lease)
        names = [output.name for output in request.outputs or () if output.name not in without]
        outputs = [Tensor(name, "FP32", (1,), lease.data) for name in names]
        return InferResponse(request.model_name, "1", request.id, outputs, None, lease)

    def give(self, stream: Streaming, final: bool = False) -> Path:
        """One more response of a stream, and of what it comes."""
        path = (*stream.path, (stream.number, stream.count))
        stream.count += 1
        stream.give(self.made(stream.request, path), final)
        return path

    def fail(self, at: int, error: Exception) -> None:
        _, _, future = self.open.pop(at)
        if not future.cancelled():
            future.set_exception(error)

    def request(self, **how: Any) -> tuple[Pending, Owner]:
        """Start one request with every input."""
        how.setdefault("inputs", [Tensor(name, "FP32", (1,), b"1234") for name in self.graph.inputs])
        owner = Owner()
        pending = Pending(InferRequest("E", **how), None, 0, 1, 4)  # type: ignore[arg-type]
        self.executor.execute(Payload([pending], owner))
        return pending, owner


async def turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def in_a_loop(test: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(test)
    finally:
        loop.close()
