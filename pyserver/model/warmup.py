"""Warm-up: what an instance executes, or an ensemble runs, before it is ready (ModelWarmup)."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pyserver.core import tensor as core
from pyserver.errors import ErrorCode, ServerError, invalid
from pyserver.model.sequencing import make_controls, make_states, read_data, read_initial_states
from pyserver.model.signature import Signature
from pyserver.model.statistics import Statistics
from pyserver.payload import Executor, Payload, Pending, Timing
from pyserver.repository.backends import ENSEMBLE
from pyserver.scheduler.controls import READY
from pyserver.scheduler.fillers import zeros
from pyserver.types import SEQUENCE_END, SEQUENCE_START, Clock, InferRequest, InferResponse, Tensor

FOLDER = "warmup"
TEXTS = 8
"""Length of a random string."""


class Samples:
    """The samples of one model version; making them reads their data files."""

    def __init__(self, folder: Path, config: Any, signature: Signature, version: int) -> None:
        self._config = config
        self._version = version
        self._signature = signature
        self._initial = read_initial_states(folder, config)
        self.runs: list[tuple[str, Callable[[], list[tuple[InferRequest, int]]]]] = []
        for sample in config.model_warmup:
            tensors = [self._tensor(folder, sample, name, entry) for name, entry in sorted(sample.inputs.items())]
            self.runs += [(sample.name, self._maker(sample, tensors))] * max(1, sample.count)

    def _tensor(self, folder: Path, sample: Any, name: str, entry: Any) -> Tensor:
        values = entry.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
        short = str(values[entry.data_type].name).removeprefix("TYPE_")
        datatype = "BYTES" if short == "STRING" else short
        dims = tuple(entry.dims)
        choice = entry.WhichOneof("input_data_type")
        if choice == "input_data_file":
            data = read_data(self._config.name, folder / FOLDER / entry.input_data_file)
        else:
            data = random_data(datatype, dims) if choice == "random_data" else zeros(datatype, dims)
        if datatype != "BYTES" and len(data) != core.byte_size(datatype, dims):
            raise invalid(
                f"model '{self._config.name}': warmup sample '{sample.name}' input '{name}' has {len(data)} bytes"
                f" in its data file, expected {core.byte_size(datatype, dims)}"
            )
        shape = (1, *dims) if self._config.max_batch_size else dims
        return Tensor(name, datatype, shape, data)

    def _maker(self, sample: Any, tensors: list[Tensor]) -> Callable[[], list[tuple[InferRequest, int]]]:
        """A function that makes the requests of one execution, with their rows: as many, of one row each, as the batch
        has. An ensemble runs one request of all rows.
        """
        rows = max(1, sample.batch_size)
        if self._config.platform == ENSEMBLE and rows > 1:
            whole = [Tensor(one.name, one.datatype, (rows, *one.shape[1:]), bytes(one.data) * rows) for one in tensors]
            return lambda: [self._request(whole)]
        return lambda: [self._request(tensors) for _ in range(rows)]

    def _request(self, tensors: list[Tensor]) -> tuple[InferRequest, int]:
        name, version = self._config.name, str(self._version)
        inputs = [Tensor(tensor.name, tensor.datatype, tensor.shape, tensor.data) for tensor in tensors]
        request = InferRequest(name, version, inputs=inputs)
        rows = self._signature.check(request)
        if self._config.HasField("sequence_batching"):
            flags = SEQUENCE_START | SEQUENCE_END
            request.correlation_id, request.flags = 1, flags
            request.inputs = request.inputs + make_controls(self._config).tensors(name, 1, flags | READY)
            request.inputs += make_states(self._config, self._initial).initial().values()
        return request, rows


class WarmUp:
    """Lets executors run the samples of a model, one after another; the statistics count them, as Triton's do."""

    def __init__(self, samples: Samples, statistics: Statistics, clock: Clock) -> None:
        self._samples = samples
        self._statistics = statistics
        self._clock = clock

    async def __call__(self, executor: Executor) -> None:
        """Run every sample on `executor`; ServerError for the first that fails."""
        for name, make in self._samples.runs:
            run = _Run(self._statistics, self._clock)
            try:
                payload = Payload([run.pending(request, rows) for request, rows in make()], run)
                payload.executor = executor
                executor.execute(payload)
                await run.over
            except ServerError as error:
                raise ServerError(error.code, f"failed to run warmup sample '{name}': {error.message}") from error


class _Run:
    """The owner of one payload, and the waiter for all its answers."""

    def __init__(self, statistics: Statistics, clock: Clock) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._statistics = statistics
        self._clock = clock
        self._open = 0
        self._executed = False
        self._error: ServerError | None = None

    def pending(self, request: InferRequest, rows: int) -> Pending:
        """A request of the payload."""
        self._open += 1
        return Pending(request, self, self._clock(), rows, 0)

    def answer(self, response: InferResponse, final: bool) -> None:
        """Nobody reads the answer."""
        response.release()

    def fail(self, error: ServerError) -> None:
        """The first error is the one that counts."""
        self._error = self._error or error

    def answered(self, pending: Pending, response: InferResponse, final: bool) -> None:
        """An answer: a stream may have many."""
        pending.reply.answer(response, final)
        if final:
            pending.done = True
            self._heard()

    def failed(self, pending: Pending, error: ServerError) -> None:
        """No answer."""
        pending.done = pending.failed = True
        pending.reply.fail(error)
        self._heard()

    def dropped(self, pending: Pending) -> None:
        """Nobody cancels a warm-up."""
        self.failed(pending, ServerError(ErrorCode.INTERNAL, "the request was dropped"))

    def rescheduled(self, pending: Pending) -> None:
        """One step of an iterative sequence is warm enough."""
        pending.done = True
        self._heard()

    def executed(self, payload: Payload, timing: Timing | None) -> None:
        """The instance is done with it."""
        if timing is not None:
            self._statistics.executed(payload, timing, self._clock())
        self._executed = True
        self._settle()

    def returned(self, payload: Payload) -> None:
        """The instance died first."""
        for pending in payload.pendings:
            self.failed(pending, ServerError(ErrorCode.UNAVAILABLE, "its instance died"))
        self.executed(payload, None)

    def _heard(self) -> None:
        self._open -= 1
        self._settle()

    def _settle(self) -> None:
        if self._open or not self._executed or self.over.done():
            return
        if self._error is not None:
            self.over.set_exception(self._error)
        else:
            self.over.set_result(None)


def random_data(datatype: str, dims: tuple[int, ...]) -> bytes:
    """Random raw bytes of a tensor: numbers below 1 for floats, texts of a few letters for BYTES."""
    count = 1
    for size in dims:
        count *= size
    if datatype == "BYTES":
        texts = ("".join(random.choices("abcdefghij", k=TEXTS)).encode() for _ in range(count))
        return b"".join(struct.pack("<I", TEXTS) + text for text in texts)
    if datatype in _FLOATS:
        return struct.pack(f"<{count}{_FLOATS[datatype]}", *_below_one(count))
    if datatype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in _below_one(count))
    if datatype == "BOOL":
        return bytes(random.getrandbits(1) for _ in range(count))
    return random.randbytes(core.byte_size(datatype, dims))


_FLOATS = {"FP16": "e", "FP32": "f", "FP64": "d"}


def _below_one(count: int) -> Iterable[float]:
    return (random.random() for _ in range(count))
