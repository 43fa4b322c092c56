"""Which requests a model takes: the checks of its configuration's inputs and outputs, in Triton's order and words.

A request that comes here is sound in itself, whatever the protocol it came by: no input is there twice, and each has as
many bytes, or strings, as its shape and datatype say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pyserver.core import bytes as byte_strings
from pyserver.core import tensor as core
from pyserver.errors import ServerError, invalid
from pyserver.types import InferRequest, Tensor

SHAPES_REMEMBERED = 1024
ANY = -1


@dataclass(slots=True)
class TensorSpec:
    """An input or output as configured: `dims` without the batch dimension, -1 where any size will do.

    `reshape` is the shape the model itself sees, where the configuration gives one. `passed` remembers shapes, batch
    dimension included, that have been found right: most requests need one look-up, not a check.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool = False
    reshape: tuple[int, ...] | None = None
    passed: set[tuple[int, ...]] = field(default_factory=set)


class Signature:
    """The inputs and outputs of one model; `max_batch_size` is 0 for a model whose tensors have no batch dimension.

    A model whose configuration names no inputs (or no outputs) takes (or gives) any.
    """

    def __init__(
        self, model: str, max_batch_size: int, inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]
    ) -> None:
        self.model = model
        self.max_batch_size = max_batch_size
        self.inputs = {spec.name: spec for spec in inputs}
        self.outputs = {spec.name: spec for spec in outputs}
        self._required = sum(not spec.optional for spec in self.inputs.values())
        self.reshapes = any(spec.reshape is not None for spec in (*self.inputs.values(), *self.outputs.values()))

    @classmethod
    def of(cls, model: str, config: Any) -> Signature:
        """The signature in a normalised ModelConfig message."""
        return cls(model, config.max_batch_size, map(_spec, config.input), map(_spec, config.output))

    def check(self, request: InferRequest) -> int:
        """Check `request` and return its rows (batch size; 1 where the model has no batch dimension).

        Raises ServerError (INVALID_ARG). Deduces the only input of a raw request; reshapes inputs as configured.
        """
        if request.raw_input:
            self._deduce(request)
        rows = self._known(request)
        if rows < 0:
            rows = self._check_inputs(request)
        if request.outputs:
            self._check_outputs(request)
        if self.reshapes:
            self._reshape(request, rows)
        return rows

    def _known(self, request: InferRequest) -> int:
        """The rows of a request whose every input has passed in this shape before; -1 if it must be looked at."""
        inputs = request.inputs
        if len(inputs) != len(self.inputs):
            return -1
        rows = -1
        for tensor in inputs:
            spec = self.inputs.get(tensor.name)
            if spec is None or spec.datatype != tensor.datatype or tensor.shape not in spec.passed:
                return -1
            if self.max_batch_size:
                if rows >= 0 and rows != tensor.shape[0]:
                    return -1
                rows = tensor.shape[0]
        return rows if self.max_batch_size else 1

    def _check_inputs(self, request: InferRequest) -> int:
        if self.inputs:
            self._check_names(request)
        for tensor in request.inputs:
            spec = self.inputs.get(tensor.name)
            if spec is not None and tensor.datatype != spec.datatype:
                raise self._error(
                    request,
                    f"inference input '{tensor.name}' data-type is '{tensor.datatype}',"
                    f" but model '{self.model}' expects '{spec.datatype}'",
                )
        rows = self._check_batch(request) if self.max_batch_size else 1
        for tensor in request.inputs:
            self._check_shape(request, tensor)
        return rows

    def _check_names(self, request: InferRequest) -> None:
        names = [tensor.name for tensor in request.inputs]
        if not self._required <= len(names) <= len(self.inputs):
            raise self._error(request, self._count_text(names))
        for name in names:
            if name not in self.inputs:
                raise invalid(
                    f"unexpected inference input '{name}' for model '{self.model}', expected {sorted(self.inputs)}"
                )
        if any(not spec.optional and name not in names for name, spec in self.inputs.items()):
            raise self._error(request, self._count_text(names))

    def _count_text(self, names: list[str]) -> str:
        if self._required == len(self.inputs):
            text = f"expected {self._required} inputs but got {len(names)} inputs"
        else:
            text = (
                f"expected number of inputs between {self._required} and {len(self.inputs)} but got {len(names)} inputs"
            )
        text += f" for model '{self.model}'. Got input(s) {names}"
        missing = [name for name, spec in self.inputs.items() if not spec.optional and name not in names]
        extra = [name for name in names if name not in self.inputs]
        if missing:
            text += f", but missing required input(s) {missing}. Please provide all required input(s)"
        if extra:
            text += f", but there is no input {extra}"
        return text + "."

    def _check_batch(self, request: InferRequest) -> int:
        rows = -1
        for tensor in request.inputs:
            if not tensor.shape:
                raise self._error(
                    request,
                    f"input '{tensor.name}' has no shape but model requires batch dimension for '{self.model}'",
                )
            if rows >= 0 and tensor.shape[0] != rows:
                raise self._error(
                    request,
                    f"input '{tensor.name}' batch size does not match other inputs for '{self.model}':"
                    f" got {tensor.shape[0]}, expected {rows}",
                )
            rows = tensor.shape[0]
        if rows > self.max_batch_size:
            raise self._error(
                request,
                f"inference request batch-size must be <= {self.max_batch_size} for '{self.model}', got {rows}",
            )
        if rows == 0:
            raise self._error(
                request,
                f"input byte size mismatch for input '{request.inputs[0].name}' for model '{self.model}'."
                " Expected at least one row in the batch, got 0",
            )
        return max(rows, 1)

    def _check_shape(self, request: InferRequest, tensor: Tensor) -> None:
        spec = self.inputs.get(tensor.name)
        if any(size < 0 for size in tensor.shape):
            raise self._error(
                request,
                f"All input dimensions should be specified for input '{tensor.name}' for model '{self.model}',"
                f" got {_shape(tensor.shape)}",
            )
        if spec is None:
            return
        dims = tensor.shape[1:] if self.max_batch_size else tensor.shape
        if len(dims) == len(spec.dims) and all(want in (ANY, got) for want, got in zip(spec.dims, dims, strict=True)):
            if len(spec.passed) >= SHAPES_REMEMBERED:
                spec.passed.clear()
            spec.passed.add(tensor.shape)
            return
        expected = (ANY, *spec.dims) if self.max_batch_size else spec.dims
        text = (
            f"unexpected shape for input '{tensor.name}' for model '{self.model}'."
            f" Expected {_shape(expected)}, got {_shape(tensor.shape)}."
        )
        if self.max_batch_size:
            text += (
                " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension"
                " to be prepended to each input shape."
            )
        raise self._error(request, text)

    def _check_outputs(self, request: InferRequest) -> None:
        if not self.outputs:
            return
        for output in request.outputs or ():
            if output.name not in self.outputs:
                raise invalid(
                    f"unexpected inference output '{output.name}' for model '{self.model}',"
                    f" expected one of {sorted(self.outputs)}"
                )

    def _deduce(self, request: InferRequest) -> None:
        """Give a raw request's only tensor the name, datatype and shape of the model's only input."""
        if len(self.inputs) != 1:
            raise self._error(
                request,
                f"Raw request must only have 1 input (found 1) to be deduced but got {len(self.inputs)} inputs"
                f" in '{self.model}' model configuration",
            )
        (spec,) = self.inputs.values()
        tensor = request.inputs[0]
        tensor.name, tensor.datatype = spec.name, spec.datatype
        batch = (1,) if self.max_batch_size else ()
        if spec.datatype == "BYTES":
            if spec.dims != (1,):
                raise self._error(
                    request, f"For BYTE datatype raw input '{spec.name}', the model must have input shape [1]"
                )
            tensor.data = byte_strings.pack([bytes(tensor.data)])
            tensor.shape = (*batch, 1)
        else:
            tensor.shape = (*batch, *self._deduced_dims(request, spec, len(tensor.data)))
        request.raw_input = False

    def _deduced_dims(self, request: InferRequest, spec: TensorSpec, nbytes: int) -> tuple[int, ...]:
        if spec.dims.count(ANY) > 1:
            raise self._error(
                request,
                f"The shape of the raw input '{spec.name}' can not be deduced because there are more than one"
                " variable-sized dimension",
            )
        fixed = core.byte_size(spec.datatype, tuple(size for size in spec.dims if size != ANY))
        if nbytes % fixed if ANY in spec.dims else nbytes != fixed:
            expected = f"a multiple of {fixed}" if ANY in spec.dims else fixed
            raise self._error(
                request,
                f"input byte size mismatch for input '{spec.name}' (raw_input) for model '{self.model}'."
                f" Expected {expected}, got {nbytes}",
            )
        return tuple(nbytes // fixed if size == ANY else size for size in spec.dims)

    def _reshape(self, request: InferRequest, rows: int) -> None:
        for tensor in request.inputs:
            spec = self.inputs.get(tensor.name)
            if spec is not None and spec.reshape is not None:
                shape = fill(spec.reshape, tensor.shape[1:] if self.max_batch_size else tensor.shape)
                tensor.shape = (rows, *shape) if self.max_batch_size else shape

    def restore(self, outputs: Iterable[Tensor]) -> None:
        """Give reshaped outputs the shape that the configuration's `dims` promise to clients."""
        for tensor in outputs:
            spec = self.outputs.get(tensor.name)
            if spec is not None and spec.reshape is not None:
                shape = fill(spec.dims, tensor.shape[1:] if self.max_batch_size else tensor.shape)
                tensor.shape = (*tensor.shape[:1], *shape) if self.max_batch_size else shape

    def _error(self, request: InferRequest, text: str) -> ServerError:
        return invalid(f"[request id: {request.id or '<id_unknown>'}] {text}")


def fill(pattern: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """`pattern` with its -1s replaced by what is left of `shape` once equal fixed sizes are taken out, in order."""
    wanted = list(shape)
    for size in pattern:
        if size != ANY and size in wanted:
            wanted.remove(size)
    left = iter([size for size in wanted if size != 1] + [1] * len(pattern))
    return tuple(next(left) if size == ANY else size for size in pattern)


def _spec(entry: Any) -> TensorSpec:
    datatype = entry.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[entry.data_type].name
    short = datatype.removeprefix("TYPE_")
    reshape = tuple(entry.reshape.shape) if entry.HasField("reshape") else None
    optional = bool(getattr(entry, "optional", False))
    return TensorSpec(entry.name, "BYTES" if short == "STRING" else short, tuple(entry.dims), optional, reshape)


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
