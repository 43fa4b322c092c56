"""A model whose requests run through a graph of other models."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Sequence
from typing import Any

from pyserver.instance.memory import Block
from pyserver.model import tracing
from pyserver.model.ensemble.executor import GraphExecutor
from pyserver.model.ensemble.plan import graph_of, ranks
from pyserver.model.model import Model
from pyserver.model.statistics import Statistics
from pyserver.model.stream import Stream
from pyserver.model.stream_statistics import StreamStatistics
from pyserver.model.warmup import Samples, WarmUp
from pyserver.payload import Pending
from pyserver.proto.model_config import ModelConfig
from pyserver.repository import document
from pyserver.scheduler.policy import Limits
from pyserver.scheduler.way import Ways
from pyserver.types import Clock, InferRequest, InferResponse


class Ensemble(Model):
    """Takes requests once it is linked to the models of its steps; its queue is bounded as any model's."""

    def __init__(self, name: str, version: int, config: Any, config_json: str, limits: Limits, clock: Clock) -> None:
        super().__init__(name, version, config, config_json, None, limits, clock)
        self.graph = graph_of(config)
        self.steps: list[Model] = []
        self.samples: Samples | None = None
        per_step = config.ensemble_scheduling.max_inflight_requests
        self._runs = GraphExecutor(
            name, str(version), self.graph, ranks(config), limits, per_step, self._infer_step,
            self._stream_step, clock,
        )  # fmt: skip
        self.scheduler.add(self._runs)

    @property
    def ready(self) -> bool:
        """Whether every step's model would run a request sent now."""
        return bool(self.steps) and all(model.ready for model in self.steps)

    @property
    def whole(self) -> bool:
        """Whether every step's model has all its instances."""
        return all(model.whole for model in self.steps)

    @property
    def trouble(self) -> str:
        """What its steps' models miss."""
        return "; ".join(
            f"step '{model.name}': {model.trouble}" for model in dict.fromkeys(self.steps) if model.trouble
        )

    async def probe(self) -> bool:
        """Whether every step's model says that it is ready."""
        return self.ready and all(await asyncio.gather(*(model.probe() for model in dict.fromkeys(self.steps))))

    def waits_for(self, pending: Pending | None) -> Sequence[Model]:
        """Models of its steps."""
        if pending is None:
            return self.steps
        return [self.steps[number] for number in self._runs.steps_running(pending) if number < len(self.steps)]

    def labels_of(self, output: str) -> Sequence[str]:
        """Its own labels; without any, those of the step whose output it is."""
        if output in self.labels:
            return self.labels[output]
        for model, step in zip(self.steps, self.config.ensemble_scheduling.step, strict=False):
            for name, tensor in step.output_map.items():
                if tensor == output:
                    return model.labels_of(name)
        return ()

    def link(self, models: Sequence[Model]) -> None:
        """Run the steps on `models` from now on: one for each step, in the order of the configuration."""
        if list(models) == self.steps:
            return
        self.unlink()
        self.steps = list(models)
        self._follow(any(model.decoupled for model in models))
        self._runs.ways = Ways(self.graph, streaming(models))
        for model in models:
            model.users.add(self)
        self._runs.ranks = [ranks(model.config) for model in models]
        if self.cached is not None:
            self.cached.renew(self.identity)

    async def warm(self) -> None:
        """Run its samples, linked as it is; ServerError for the first that fails."""
        if self.samples is not None:
            await WarmUp(self.samples, self.statistics, self._clock)(self._runs)

    def _follow(self, decoupled: bool) -> None:
        """With a step that may answer any number of times it is such a model itself, and says so."""
        if decoupled == self.decoupled:
            return
        config = ModelConfig()
        config.CopyFrom(self.config)
        config.model_transaction_policy.decoupled = self.decoupled = decoupled
        self.config, self.config_json = config, document.to_json(config)
        self.statistics = StreamStatistics() if decoupled else Statistics()
        self._traced, self.scheduler.observer = None, self.statistics
        if self._measured is not None:
            self.measure(self._measured)

    @property
    def identity(self) -> str:
        """Its own configuration, and those of the models that it runs."""
        steps = [f"{model.name}:{model.version}:{model.identity}" for model in self.steps]
        return "\n".join([self.config_json, *steps])

    def unlink(self) -> None:
        """Let go of the models: no request is to come any more."""
        for model in self.steps:
            model.users.discard(self)
        self.steps = []

    def reserve(self, nbytes: int, header: int) -> Block | None:
        """A block of the model's memory that is the first to read: what it reads of the body is not copied at all."""
        first = self._runs.ways.to(None).course.first
        model = self.steps[first[0]] if first and self.steps else None
        return model.reserve(nbytes, header) if model is not None else None

    async def stop(self, timeout: float) -> None:
        """As any model's; then the models of its steps may go."""
        await super().stop(timeout)
        self.unlink()

    def _infer_step(self, number: int, request: InferRequest) -> Future[InferResponse]:
        model = self.steps[number]
        if model.cached is not None:
            request.lease = None  # a hit would end it, and others may read on
        if request.trace is None:
            return model.infer(request)
        tracing.begin_child(request.trace, request, model)
        future = model.infer(request)
        tracing.follow(request.trace, future, "")
        return future

    def _stream_step(self, number: int, request: InferRequest) -> Stream:
        model = self.steps[number]
        if request.trace is not None:
            tracing.begin_child(request.trace, request, model)
        return model.infer_stream(request)


def streaming(models: Sequence[Model]) -> frozenset[int]:
    """The places of those of `models` that may answer any number of times."""
    return frozenset(number for number, model in enumerate(models) if model.decoupled)
