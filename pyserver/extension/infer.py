"""Inferences that ask for more than tensors: inputs from clients' shared memory, outputs into it, classification.

An ordinary request never comes here. One with an `Extension` gets its inputs from the regions, runs as any other, and
has its outputs changed before whoever asked sees them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from pyserver.core.tensor import byte_size
from pyserver.errors import ServerError, invalid
from pyserver.extension.classification import classified
from pyserver.extension.regions import Region, Regions
from pyserver.instance.memory import Block
from pyserver.model.model import Model
from pyserver.model.stream import Item, Stream
from pyserver.types import InferRequest, InferResponse, Part, Tensor

T = TypeVar("T")

ALIGNMENT = 64
IN_ARENA = 64 * 1024
"""Inputs of as many bytes together are read to where the model's processes see them: one copy in all."""
INLINE = 256 * 1024
"""Sorting more bytes than this would hold up everybody else: a thread does it."""


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


class Extended:
    """One request with an `Extension` on its way through `model`: what it holds, and what its outputs become.

    Made, it has its inputs, and holds the regions of its outputs; `release` gives both back, once.
    """

    def __init__(self, model: Model, request: InferRequest, regions: Regions, limits: Limits) -> None:
        assert request.extension is not None
        self._extension = request.extension
        self._model = model
        self._limits = limits
        self._block: Block | None = None
        self._outputs: dict[str, tuple[Region, Part]] = {}
        targets = {name: (regions.find(part), part) for name, part in self._extension.outputs.items()}
        if self._extension.inputs:
            self._take_inputs(request, regions)
        for name, (region, part) in targets.items():
            self._outputs[name] = (region.hold(), part)

    def start(self, run: Callable[[], T]) -> T:
        """What `run` gives, which starts the model on the request; if it raises, nothing is held any more."""
        try:
            return run()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Nothing is needed any more."""
        block, self._block = self._block, None
        if block is not None:
            block.release()
        outputs, self._outputs = self._outputs, {}
        for region, _ in outputs.values():
            region.drop()

    def _take_inputs(self, request: InferRequest, regions: Regions) -> None:
        sources = []
        total = 0
        for position, part in self._extension.inputs.items():
            tensor = request.inputs[position]
            sources.append((tensor, part, regions.find(part), total))
            _check_size(tensor, part, self._model.name)
            total += (part.byte_size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        if total > self._limits.input_bytes:
            raise invalid(
                f"inputs of {total} bytes in shared memory exceed the maximum allowed {self._limits.input_bytes} "
                "bytes. Use --http-max-body-size to increase the limit."
            )
        view = self._room(request, total)
        try:
            for tensor, part, region, start in sources:
                tensor.data = view[start : start + part.byte_size]
                region.read(part, tensor.data)
        except BaseException:
            self.release()
            raise

    def _room(self, request: InferRequest, size: int) -> memoryview:
        """Memory for the inputs. A request whose body lies in the arena has that block as its lease already."""
        if size >= IN_ARENA and request.lease is None:
            self._block = self._model.reserve(size, 0)
        if self._block is None:
            return memoryview(bytearray(size))
        request.lease = self._block
        return self._block.view

    def heavy(self, response: InferResponse) -> bool:
        """Whether to change its outputs takes long."""
        return any(len(output.data) > INLINE and output.name in self._extension.classes for output in response.outputs)

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
    """Run what `extended` was made of; raises as `run`, which starts it."""
    answer = ExtendedAnswer(loop=asyncio.get_running_loop())
    answer.running = extended.start(run)
    answer.running.add_done_callback(partial(_ran, extended, answer))
    return answer


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


class ExtendedStream:
    """A stream whose responses are what was asked for: the methods of `Stream` that its readers use."""

    def __init__(self, stream: Stream, extended: Extended) -> None:
        self._stream = stream
        self._extended = extended

    def listen(self, listener: Callable[[Item], None]) -> None:
        """As `Stream.listen`."""
        self._stream.listen(lambda item: listener(self._changed(item)))

    def cancel(self) -> None:
        """As `Stream.cancel`."""
        self._stream.cancel()
        self._extended.release()

    def __aiter__(self) -> ExtendedStream:
        return self

    async def __anext__(self) -> Item:
        return self._changed(await self._stream.__anext__())

    def _changed(self, item: Item) -> Item:
        response = item.response
        try:
            if response.error is None and not response.empty:
                self._extended.finish(response)
        except ServerError as error:
            response.error, response.outputs = error, []
        if item.final:
            self._extended.release()
        return item
