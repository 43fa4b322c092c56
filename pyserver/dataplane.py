"""What the front ends ask of a serving server: ready, metadata, infer. Runs on the main loop, never blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyserver import __version__
from pyserver.cache.cache import Cache, Counters
from pyserver.errors import ServerError, invalid, unavailable
from pyserver.extension import infer as extended
from pyserver.extension.regions import Regions
from pyserver.extension.stream import ExtendedStream
from pyserver.instance.memory import Block
from pyserver.model import tracing
from pyserver.model.answer import relay
from pyserver.model.custom_metrics import CustomMetrics, FamilySample
from pyserver.model.items import Items
from pyserver.model.model import Model
from pyserver.model.registry import Registry
from pyserver.model.stream import Stream
from pyserver.observe.log import Log
from pyserver.observe.trace import Trace
from pyserver.observe.traces import TRACEPARENT, Traces
from pyserver.payload import Reply, Ticket
from pyserver.repository.metadata import mlserver_metadata, model_metadata
from pyserver.types import InferRequest, InferResponse

EXTENSIONS = (
    "classification", "sequence", "model_repository", "model_repository(unload_dependents)", "schedule_policy",
    "model_configuration", "system_shared_memory", "cuda_shared_memory", "binary_tensor_data", "parameters",
    "statistics", "trace", "logging",
)  # fmt: skip
"""The V2 extensions that this server has, by their names in the protocol."""


class DataPlane:
    """The read side of the server, and inference.

    `version` is a string everywhere, "" for the greatest version that serves. What can't be answered raises a
    ServerError.
    """

    def __init__(
        self,
        registry: Registry,
        name: str,
        strict_readiness: bool,
        metrics: CustomMetrics | None = None,
        cache: Cache | None = None,
        log: Log | None = None,
        traces: Traces | None = None,
        regions: Regions | None = None,
        limits: extended.Limits | None = None,
    ) -> None:
        self.log = log or Log()
        self.traces = traces or Traces()
        self._metrics = metrics or CustomMetrics()
        self._registry = registry
        self._cache = cache
        self.regions = regions or Regions(allowed=False)
        self._limits = limits or extended.Limits()
        self._name = name
        self._strict = strict_readiness
        self._starting = True
        self._stopping = False
        self._version = __version__
        self._extensions = list(EXTENSIONS)

    def introduce(self, version: str, extensions: Sequence[str]) -> None:
        """What the server calls its version and its extensions, where that is not ("") its own."""
        self._version = version or self._version
        self._extensions = list(extensions) or self._extensions

    def started(self) -> None:
        """Every model asked for at start has been tried: the server may be ready."""
        self._starting = False

    def stopping(self) -> None:
        """The server is going: not ready from now on."""
        self._stopping = True

    def live(self) -> bool:
        """Whether the loop turns: whoever can ask has the answer."""
        return True

    def ready(self) -> bool:
        """Whether requests are welcome; with strict readiness, whether every model that was not unloaded is ready."""
        if self._starting or self._stopping:
            return False
        if not self._strict:
            return True
        return all(found.ready or not found.wanted for entry in self._registry for found in entry.versions.values())

    def model_ready(self, name: str, version: str) -> bool:
        """Whether a request to this model would be executed; False for a model that is not there."""
        return not self.why_unready(name, version)

    def why_unready(self, name: str, version: str) -> str:
        """Why a request to this model would not be executed; "" if it would."""
        try:
            model = self._registry.get(name, version)
        except ServerError as error:
            return error.message
        return "" if model.ready else model.trouble or "no instance is ready"

    async def probe(self, name: str, version: str) -> bool:
        """Whether a request to this model would be executed, by the model's own is_ready as well where it has one."""
        try:
            model = self._registry.get(name, version)
        except ServerError:
            return False
        return await model.probe()

    def server_metadata(self) -> dict[str, Any]:
        """The V2 server metadata document."""
        return {"name": self._name, "version": self._version, "extensions": self._extensions}

    def model_metadata(self, name: str, version: str) -> dict[str, Any]:
        """The V2 model metadata document; of one version it lists that one alone, as Triton does."""
        model = self._registry.get(name, version)
        if model.of_mlserver:
            return mlserver_metadata(model.name, model.instances.metadata)
        versions = [model.version] if version else list(self._registry.entry(name).serving())
        return model_metadata(model.config, versions)

    def model_inputs(self, name: str, version: str) -> list[dict[str, Any]]:
        """Name, datatype and shape (-1 for any size) of each input."""
        inputs: list[dict[str, Any]] = model_metadata(self._registry.get(name, version).config, [])["inputs"]
        return inputs

    def batching(self, name: str, version: str) -> bool:
        """Whether the first dimension of the model's tensors is the batch."""
        return bool(self._registry.get(name, version).config.max_batch_size)

    def model_config_json(self, name: str, version: str) -> str:
        """The normalised ModelConfig as Triton prints it."""
        return self._registry.get(name, version).config_json

    def statistics(self, name: str, version: str) -> list[dict[str, Any]]:
        """The statistics documents of one version, of all versions of a model, or ("") of all models."""
        wanted = self._select(name, version)
        return [
            {"name": found, "version": str(number), **model.statistics.document()} for found, number, model in wanted
        ]

    def models(self) -> Iterable[tuple[str, int, Model]]:
        """Every model version that serves: what the metrics are made from."""
        return self._registry.loaded()

    def models_of_mlserver(self) -> Iterable[tuple[str, str, Model]]:
        """MLServer's model versions that serve, each with what clients call it."""
        return [
            (entry.name, entry.label(number), model)
            for entry in self._registry
            for number, model in entry.serving().items()
            if model.of_mlserver
        ]

    def cache(self) -> Counters | None:
        """What the response cache counts; None where there is none."""
        return None if self._cache is None else self._cache.counters

    def custom_metrics(self) -> list[FamilySample]:
        """What models measure of their own accord."""
        return self._metrics.samples({(name, number) for name, number, _ in self._registry.loaded()})

    def check(self, name: str, version: str) -> None:
        """Raise the ServerError of a request to a model that is not there, before its body is read."""
        self._registry.get(name, version)

    def of_mlserver(self, name: str, version: str) -> bool:
        """Whether clients of this model speak as MLServer does; raises as `check` does."""
        return self._registry.get(name, version).of_mlserver

    @property
    def name(self) -> str:
        """The server's name."""
        return self._name

    def infer(
        self, request: InferRequest, protocol: str = "GRPC", received: tuple[int, ...] = ()
    ) -> asyncio.Future[InferResponse]:
        """Start an inference. A request that can be refused at once raises; otherwise a future of its answer.

        Whoever gets the answer calls its `release` once its bytes are written; cancelling the future drops the request.
        `protocol`, and when the request was `received` (from, to; monotonic ns), are for its trace, if it gets one.
        """
        model = self._registry.get(request.model_name, request.model_version)
        if request.extension is not None:
            return self._extended(model, request, protocol, received)
        return self._traced(model, request, protocol, received) if self.traces.on else model.infer(request)

    def submit(
        self, request: InferRequest, reply: Reply, protocol: str = "GRPC", received: tuple[int, ...] = ()
    ) -> Ticket:
        """As `infer`, without a future: the answer goes to `reply`, perhaps before this returns."""
        model = self._registry.get(request.model_name, request.model_version)
        if request.extension is not None:
            return relay(self._extended(model, request, protocol, received), reply, request.id)
        if self.traces.on:
            return relay(self._traced(model, request, protocol, received), reply, request.id)
        return model.submit(request, reply)

    def _extended(
        self, model: Model, request: InferRequest, protocol: str, received: tuple[int, ...]
    ) -> asyncio.Future[InferResponse]:
        def run() -> asyncio.Future[InferResponse]:
            return self._traced(model, request, protocol, received) if self.traces.on else model.infer(request)

        return extended.infer(extended.Extended(model, request, self.regions, self._limits), run)

    def _traced(
        self, model: Model, request: InferRequest, protocol: str, received: tuple[int, ...]
    ) -> asyncio.Future[InferResponse]:
        trace = self._sampled(model, request, protocol, received)
        if trace is None:
            return model.infer(request)
        try:
            future = model.infer(request)
        except ServerError as error:
            trace.ended(error.message)
            raise
        tracing.follow(trace, future, protocol)
        return future

    def _sampled(
        self, model: Model, request: InferRequest, protocol: str, received: tuple[int, ...] = ()
    ) -> Trace | None:
        """The trace of a request, begun, if it is to have one."""
        remote = request.parameters.get(TRACEPARENT, "")
        trace = self.traces.sample(model.name, str(model.version), request.id, str(remote))
        if trace is not None:
            for name, ns in zip((f"{protocol}_RECV_START", f"{protocol}_RECV_END"), received, strict=False):
                trace.note(name, ns)
            tracing.begin(trace, request, model)
        return trace

    def watch(self, request: InferRequest) -> None:
        """Have `request.trace` say what happens to it, whether it is traced or not."""
        tracing.watch(request, self._registry.get(request.model_name, request.model_version))

    def trace_setting(self, name: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The trace setting of a model, or ("") of all, with `changes` made to it."""
        if name:
            self._known(name)
        setting = self.traces.setting(name) if changes is None else self.traces.update(name, changes)
        return setting.document()

    def _known(self, name: str) -> None:
        """Whether a model is there, in whatever state; INVALID_ARG if not, as Triton has it."""
        if self._registry.known(name) is None:
            raise invalid(f"Request for unknown model : {name}")

    def infer_stream(self, request: InferRequest) -> Items:
        """Start an inference whose responses, one or any number, come as a stream; raises as `infer` does."""
        model = self._registry.get(request.model_name, request.model_version)
        if request.extension is not None:
            prepared = extended.Extended(model, request, self.regions, self._limits)
            return ExtendedStream(prepared, lambda: self._streamed(model, request))
        return self._streamed(model, request)

    def _streamed(self, model: Model, request: InferRequest) -> Stream:
        trace = self._sampled(model, request, "") if self.traces.on else None
        try:
            return model.infer_stream(request)
        except ServerError as error:
            if trace is not None:
                trace.ended(error.message)
            raise

    def reserve(self, name: str, version: str, nbytes: int, header: int) -> Block | None:
        """Memory of the model's to receive a body of `nbytes` into, its byte `header` aligned; None if it has none."""
        return self._registry.get(name, version).reserve(nbytes, header)

    def _select(self, name: str, version: str) -> list[tuple[str, int, Model]]:
        loaded = self._registry.loaded()
        if not name:
            return loaded
        wanted = [entry for entry in loaded if entry[0] == name]
        if not wanted:
            raise invalid(f"requested model '{name}' is not available")
        if version:
            wanted = [entry for entry in wanted if str(entry[1]) == version]
            if not wanted:
                raise invalid(f"requested model version is not available for model '{name}': {version}")
        return wanted


def stopping_error() -> ServerError:
    """What a server that is going says."""
    return unavailable("Server is stopping, scheduler for model has stopped accepting new inference requests")
