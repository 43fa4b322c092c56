"""Inferences that ask for more than tensors: inputs from clients' shared memory, outputs into it, classification.

An ordinary request never comes here. One with an `Extension` gets its inputs from the regions, runs as any other, and
has its outputs changed before whoever asked sees them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar

from pyserver.core.tensor import byte_size
from pyserver.errors import invalid
from pyserver.extension.classification import classified
from pyserver.extension.regions import Region, Regions
from pyserver.instance.memory import Block
from pyserver.model.model import Model
from pyserver.types import InferRequest, InferResponse, Part, Tensor

T = TypeVar("T")

ALIGNMENT = 64
IN_ARENA = 64 * 1024
"""Inputs of as many bytes together are read to where the model's processes see them: one copy in all."""
SORT_INLINE = 256 * 1024
"""Sorting more bytes than this would hold up everybody else: a thread does it."""
COPY_INLINE = 1 << 20
"""As many bytes are copied in the time of a few small requests; more, a thread copies."""


class Limits(NamedTuple):
    """`input_bytes` is how much of shared memory one request may name as inputs, `classes` how many values an output
    may be classified to.
    """

    input_bytes: int = 2 << 30
    classes: int = 1_000_000


class ExtendedAnswer(asyncio.Future[InferResponse]):
    """The answer once its outputs are what was asked for. Cancelling it cancels the request."""

    running: asyncio.Future[InferResponse] | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        """As any future's; the model hears of it."""
        if not super().cancel(msg):
            return False
        if self.running is not None:
            self.running.cancel()
        return True


class _Source(NamedTuple):
    """An input that a region has, and where in the request's memory it goes."""

    tensor: Tensor
    part: Part
    region: Region
    start: int


class Extended:
    """One request with an `Extension` on its way through `model`: what it holds, and what its outputs become.

    Made, it holds the regions that it names; `read`, in any thread where that `takes_long`, then `ready`, give the
    request its inputs. `release` gives everything back, once.
    """

    def __init__(self, model: Model, request: InferRequest, regions: Regions, limits: Limits) -> None:
        assert request.extension is not None
        self._extension = request.extension
        self._model = model
        self._request = request
        self._limits = limits
        self._block: Block | None = None
        self._view = memoryview(b"")
        self._held: list[Region] = []
        self._outputs = {name: (regions.find(part), part) for name, part in self._extension.outputs.items()}
        self._sources = list(self._laid_out(regions)) if self._extension.inputs else []
        if self._sources:
            self._take_room()
        for region in [region for region, _ in self._outputs.values()] + [source.region for source in self._sources]:
            self._held.append(region.hold())

    @property
    def model(self) -> Model:
        """Who is asked."""
        return self._model

    @property
    def request_id(self) -> str:
        """The client's name for the request, or ""."""
        return self._request.id

    @property
    def takes_long(self) -> bool:
        """Whether to `read` would hold up everybody else."""
        return len(self._view) > COPY_INLINE

    def read(self) -> None:
        """Copy the inputs. ServerError if an object has shrunk."""
        for source in self._sources:
            source.region.read(source.part, self._view[source.start : source.start + source.part.byte_size])

    def ready(self) -> None:
        """The inputs are there: the request has them from now on, and their memory."""
        for tensor, part, _, start in self._sources:
            tensor.data = self._view[start : start + part.byte_size]
        if self._block is not None:
            self._request.lease = self._block

    def start(self, run: Callable[[], T]) -> T:
        """What `run` gives, which starts the model on the request; if it raises, nothing is held any more."""
        try:
            self.ready()
            return run()
        except BaseException:
            self.release()
            raise

    def read_and_start(self, run: Callable[[], T]) -> T:
        """As `start`, and the inputs are read here and now."""
        try:
            self.read()
        except BaseException:
            self.release()
            raise
        return self.start(run)

    def release(self) -> None:
        """Nothing is needed any more."""
        block, self._block = self._block, None
        if block is not None:
            block.release()
        held, self._held = self._held, []
        for region in held:
            region.drop()

    def _laid_out(self, regions: Regions) -> Iterator[_Source]:
        """Each input of a region, and where it is to lie. ServerError for what can't be, before anything is read."""
        start = 0
        for position, part in self._extension.inputs.items():
            tensor = self._request.inputs[position]
            yield _Source(tensor, part, regions.find(part), start)
            _check_size(tensor, part, self._model.name)
            start += _aligned(part.byte_size)

    def _take_room(self) -> None:
        """Memory for the inputs. A request whose body lies in the arena has that block as its lease already."""
        total = self._sources[-1].start + _aligned(self._sources[-1].part.byte_size)
        if total > self._limits.input_bytes:
            raise invalid(
                f"inputs of {total} bytes in shared memory exceed the maximum allowed {self._limits.input_bytes} "
                "bytes. Use --http-max-body-size to increase the limit."
            )
        if total >= IN_ARENA and self._request.lease is None:
            self._block = self._model.reserve(total, 0)
        self._view = memoryview(bytearray(total)) if self._block is None else self._block.view

    def heavy(self, response: InferResponse) -> bool:
        """Whether to `finish` it would hold up everybody else."""
        return any(
            len(output.data) > (SORT_INLINE if output.name in self._extension.classes else COPY_INLINE)
            for output in response.outputs
            if output.name in self._extension.classes or output.name in self._outputs
        )

    def finish(self, response: InferResponse) -> None:
        """Classify outputs, write others to shared memory. ServerError where that can't be done."""
        response.outputs = [self._finished(output) for output in response.outputs]

    def _finished(self, output: Tensor) -> Tensor:
        most = self._extension.classes.get(output.name)
        if most is not None:
            batching = self._model.config.max_batch_size > 0
            labels = self._model.labels_of(output.name)
            return classified(output, most, batching, labels, self._limits.classes)
        target = self._outputs.get(output.name)
        if target is None:
            return output
        region, part = target
        if len(output.data) > part.byte_size:
            raise invalid(
                f"shared memory size specified with the request for output '{output.name}' ({part.byte_size} bytes) "
                f"should be at least {len(output.data)} bytes to hold the results"
            )
        region.write(part, output.data)
        return Tensor(output.name, output.datatype, output.shape, b"", output.parameters)


def _aligned(size: int) -> int:
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def _check_size(tensor: Tensor, part: Part, model: str) -> None:
    """Refuse what the model would, before it is read."""
    if tensor.datatype == "BYTES":
        return
    try:
        expected = byte_size(tensor.datatype, tensor.shape)
    except (OverflowError, ValueError) as error:
        raise invalid(f"input '{tensor.name}' for model '{model}': {error}") from None
    if part.byte_size != expected:
        raise invalid(
            f"input byte size mismatch for input '{tensor.name}' for model '{model}'. "
            f"Expected {expected}, got {part.byte_size}"
        )


def infer(extended: Extended, run: Callable[[], asyncio.Future[InferResponse]]) -> ExtendedAnswer:
    """Run what `extended` was made of; raises as `run`, which starts it, unless large inputs are read before."""
    answer = ExtendedAnswer(loop=asyncio.get_running_loop())
    if extended.takes_long:
        reading = answer.get_loop().run_in_executor(None, extended.read)
        reading.add_done_callback(partial(_read, extended, answer, run))
    else:
        _follow(extended, answer, extended.read_and_start(run))
    return answer


def _read(
    extended: Extended,
    answer: ExtendedAnswer,
    run: Callable[[], asyncio.Future[InferResponse]],
    reading: asyncio.Future[None],
) -> None:
    """The inputs are there, or can't be had; perhaps nobody waits any more."""
    error = reading.exception()
    if error is None and not answer.done():
        try:
            _follow(extended, answer, extended.start(run))
            return
        except Exception as failure:
            error = failure
    extended.release()
    if error is not None and not answer.done():
        answer.set_exception(error)


def _follow(extended: Extended, answer: ExtendedAnswer, running: asyncio.Future[InferResponse]) -> None:
    answer.running = running
    running.add_done_callback(partial(_ran, extended, answer))


def _ran(extended: Extended, answer: ExtendedAnswer, running: asyncio.Future[InferResponse]) -> None:
    answer.running = None
    if running.cancelled():
        extended.release()
        answer.cancel()
        return
    error = running.exception()
    if error is not None:
        extended.release()
        if not answer.done():
            answer.set_exception(error)
        return
    response = running.result()
    if answer.done():
        extended.release()
        response.release()
    elif extended.heavy(response):
        loop = answer.get_loop()
        finishing = loop.run_in_executor(None, extended.finish, response)
        finishing.add_done_callback(lambda done: _finished(extended, answer, response, done.exception()))
    else:
        try:
            extended.finish(response)
        except Exception as failure:
            _finished(extended, answer, response, failure)
        else:
            _finished(extended, answer, response, None)


def _finished(extended: Extended, answer: ExtendedAnswer, response: InferResponse, error: BaseException | None) -> None:
    extended.release()
    if error is None and not answer.done():
        answer.set_result(response)
        return
    response.release()
    if error is not None and not answer.done():
        answer.set_exception(error)
