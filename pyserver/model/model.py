"""One version of a model, serving: a signature to check requests, a scheduler, and the instances that run them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyserver.cache.cache import Cache
from pyserver.errors import ErrorCode, ServerError
from pyserver.instance.instance import WarmUp
from pyserver.instance.memory import Block, RequestMemory
from pyserver.instance.supervisor import Supervisor
from pyserver.ipc.envelope import BACKEND
from pyserver.model import tracing
from pyserver.model.answer import Answer, Restored, relay
from pyserver.model.cached import CachedModel
from pyserver.model.instances import Instances
from pyserver.model.latencies import Latencies, LatencyObserver, latencies_of
from pyserver.model.scheduling import make_scheduler
from pyserver.model.seats import Seat
from pyserver.model.signature import Signature
from pyserver.model.statistics import Statistics
from pyserver.model.stream import Stream
from pyserver.model.stream_statistics import StreamStatistics
from pyserver.model.tracing import TracingObserver
from pyserver.observe.metrics_config import MetricsConfig
from pyserver.payload import Pending, Reply, Ticket
from pyserver.scheduler.policy import Limits
from pyserver.scheduler.rate_limiter import RateLimiter
from pyserver.scheduler.scheduler import closed
from pyserver.types import Clock, InferRequest, InferResponse

_made = itertools.count()

DECOUPLED = "doesn't support models with decoupled transaction policy"


class DecoupledError(ServerError):
    """Who can take but one response has asked a model that gives any number."""

    def __init__(self, asked: str) -> None:
        super().__init__(ErrorCode.UNSUPPORTED, f"{asked} {DECOUPLED}")


class Model:
    """Takes requests while it has an instance that lives, or will live again in a moment.

    `config` is the normalised ModelConfig message, `config_json` the same as Triton prints it. `memory` is None for a
    model without instances. `labels` are those of the classes of each output that has any. `calls` are the names of
    other models that it is known to call, `users` the models, ensembles, that send it requests of their own.
    """

    def __init__(
        self,
        name: str,
        version: int,
        config: Any,
        config_json: str,
        memory: RequestMemory | None,
        limits: Limits,
        clock: Clock,
        seats: Mapping[str, Seat] | None = None,
        limiter: RateLimiter | None = None,
        initial_states: Mapping[str, bytes] | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.config = config
        self.config_json = config_json
        self.decoupled = bool(config.model_transaction_policy.decoupled)
        self.of_mlserver = bool(config.backend == BACKEND)
        self.load_seconds = 0.0
        self.number = next(_made)  # the older a model the smaller
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.statistics: Statistics = StreamStatistics() if self.decoupled else Statistics()
        self.scheduler = make_scheduler(name, config, limits, clock, self._call_at, self.statistics, initial_states)
        self.cached: CachedModel | None = None
        self.latencies: Latencies | None = None
        self._measured: MetricsConfig | None = None
        self._traced: TracingObserver | None = None
        self.instances = Instances(name, self.scheduler, seats, limiter)
        self.streams: set[Stream] = set()
        self.memory = memory
        self.calls: set[str] = set()
        self.labels: Mapping[str, Sequence[str]] = {}
        self.users: set[Model] = set()
        self._signature = Signature.of(name, config)
        self.warm_up: WarmUp | None = None

    @property
    def ready(self) -> bool:
        """Whether an instance lives that would run a request sent now."""
        return self.instances.ready

    @property
    def whole(self) -> bool:
        """Whether all its instances live."""
        return self.instances.whole

    @property
    def trouble(self) -> str:
        """Why instances are missing; "" if none is."""
        return self.instances.trouble

    async def probe(self) -> bool:
        """Whether an instance lives, and says itself that it is ready where its model has such a method."""
        return await self.instances.probe()

    def infer(self, request: InferRequest, checked: int = 0) -> asyncio.Future[InferResponse]:
        """Check `request` and schedule it: a future of the answer, or a ServerError at once.

        `checked` is the rows of a request that the cache has been asked about, and comes back.
        """
        rows = checked or self._check(request)
        if self.cached is not None and not checked:
            return self.cached.infer(request, rows)
        answer = Answer(loop=self._loop)
        ticket = self._schedule(request, answer, rows)
        if not answer.done():
            answer.ticket = ticket
        return answer

    def submit(self, request: InferRequest, reply: Reply) -> Ticket:
        """As `infer`, the answer going to `reply`, perhaps before this returns. A ServerError raised is the answer."""
        rows = self._check(request)
        if self.cached is not None:
            return relay(self.cached.infer(request, rows), reply, request.id)
        return self._schedule(request, reply, rows)

    def _check(self, request: InferRequest) -> int:
        if self.decoupled:
            raise DecoupledError(f"this way to ask model '{self.name}'")
        return self._signature.check(request)

    def _schedule(self, request: InferRequest, reply: Reply, rows: int) -> Pending:
        nbytes = 0
        for tensor in request.inputs:
            nbytes += len(tensor.data)
        if self._signature.reshapes:
            reply = Restored(reply, self._signature.restore)
        pending = Pending(request, reply, self._clock(), rows, nbytes, self.scheduler)
        self.scheduler.submit(pending)
        self.statistics.touch()
        return pending

    def measure(self, wanted: MetricsConfig) -> None:
        """Keep the latencies of single requests, as far as they are `wanted`."""
        self._measured = wanted
        self.latencies = latencies_of(self.config, wanted, self.cached is not None)
        self.statistics.latencies = self.latencies
        if self.latencies is not None and self.latencies.summaries:
            self.scheduler.observer = LatencyObserver(self.scheduler.observer, self.latencies)

    def watch_traces(self) -> None:
        """From now on requests may be traced: their traces hear of what the scheduler does."""
        if self._traced is None:
            self._traced = self.scheduler.observer = TracingObserver(self.scheduler.observer)

    def labels_of(self, output: str) -> Sequence[str]:
        """The labels of the classes of `output`; none where it has no label file."""
        return self.labels.get(output, ())

    @property
    def identity(self) -> str:
        """What its answers depend on, as far as configurations say it."""
        return self.config_json

    def cache_with(self, cache: Cache) -> None:
        """Look requests up in `cache` before they are scheduled. Not for models that give any number of responses."""
        self.cached = CachedModel(cache, self.name, self.version, self.statistics, self.infer, self._clock)
        self.cached.renew(self.identity)

    def waits_for(self, pending: Pending | None) -> Sequence[Model]:
        """The models that would have to answer before it does: those of an ensemble's steps that run for `pending` now,
        or of all its steps (None).
        """
        return ()

    def infer_stream(self, request: InferRequest) -> Stream:
        """Check `request` and schedule it: a stream of its responses, one where the model is not decoupled."""
        rows = self._signature.check(request)
        stream = Stream(self)
        if self.cached is not None and not self.instances.feeds:
            self.streams.add(stream)
            future = self.cached.infer(request, rows)
            if request.trace is not None:
                tracing.follow(request.trace, future, "")
            stream.follow(future, request.id)
            return stream
        nbytes = sum(len(tensor.data) for tensor in request.inputs)
        pending = stream.pending = Pending(request, stream, self._clock(), rows, nbytes)
        self.streams.add(stream)
        try:
            self.scheduler.submit(pending)
        except BaseException:
            self.streams.discard(stream)
            stream.pending = None
            raise
        self.statistics.touch()
        return stream

    def check(self, request: InferRequest) -> None:
        """Raise the ServerError of a request that isn't as the model wants it."""
        self._signature.check(request)

    def streamed(self, stream: Stream, response: InferResponse, final: bool) -> None:
        """A response of `stream` has come: count it, and give reshaped outputs their shape."""
        if self._signature.reshapes:
            self._signature.restore(response.outputs)
        pending = stream.pending
        assert pending is not None, "there is one until the last response"
        if self.decoupled:
            self.statistics.streamed(stream.count, pending, response, final, self._clock())
        stream.count += 1
        trace = pending.request.trace
        if trace is not None:
            tracing.streamed(trace, response, final)
        if final:
            self.streams.discard(stream)

    def abandon(self, stream: Stream) -> None:
        """Nobody reads `stream` any more."""
        self.streams.discard(stream)
        if stream.followed is not None:
            stream.followed.cancel()
        elif stream.pending is not None:
            self.scheduler.cancel(stream.pending)

    def reserve(self, nbytes: int, header: int) -> Block | None:
        """A block of request memory to receive a body of `nbytes` into; None when there is no room for it."""
        return self.memory.reserve(nbytes, header) if self.memory is not None else None

    def rearrange(self, config: Any, config_json: str, places: Sequence[Supervisor]) -> None:
        """Take on other instance groups: `config` with them, and who fills them, already started."""
        self.config = config
        self.config_json = config_json
        self.instances.places = places

    def _call_at(self, when_ns: int, call: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_later(max(0, when_ns - self._clock()) / 1e9, call)

    def _unready(self, reason: str) -> ServerError:
        """What a request gets while no instance lives."""
        return closed(self.name, reason)

    async def stop(self, timeout: float) -> None:
        """Refuse new requests, let those accepted finish within `timeout` seconds, end the instances.

        What an ensemble has accepted still finds the models of its steps.
        """
        deadline = self._loop.time() + timeout
        while not all(user.scheduler.idle for user in self.users) and self._loop.time() < deadline:
            await asyncio.sleep(0.005)
        self.scheduler.close(self._unready("it is being unloaded"))
        while (self.streams or not self.scheduler.idle) and self._loop.time() < deadline:
            await asyncio.sleep(0.005)
        self.scheduler.abandon(self._unready("it was unloaded before the request could run"))
        left = max(0.5, deadline - self._loop.time())
        await self.instances.stop(left)
        if self.memory is not None:
            self.memory.close()
