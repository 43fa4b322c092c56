"""Which requests a model takes: the checks of its configuration's inputs and outputs, in Triton's order and words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyserver.core import bytes as byte_strings
from pyserver.core import tensor as core
from pyserver.errors import invalid
from pyserver.ipc.envelope import BACKEND
from pyserver.model import reshape
from pyserver.model.raw_input import deduce
from pyserver.model.spec import ANY, TensorSpec, refusal, specs_of
from pyserver.types import InferRequest, Tensor

SHAPES_REMEMBERED = 1024


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
        if config.backend == BACKEND:
            from pyserver.model.open_signature import OpenSignature

            return OpenSignature(model)
        return cls(model, config.max_batch_size, specs_of(config.input), specs_of(config.output))

    def check(self, request: InferRequest) -> int:
        """Check `request` and return its rows (batch size; 1 where the model has no batch dimension).

        Raises ServerError (INVALID_ARG). Deduces the only input of a raw request; reshapes inputs as configured.
        """
        if request.raw_input:
            deduce(request, self.inputs.values(), self.model, self.max_batch_size > 0)
        rows = self._known(request)
        if rows < 0:
            rows = self._check_inputs(request)
        if request.outputs:
            self._check_outputs(request)
        if self.reshapes:
            reshape.to_model(request.inputs, self.inputs, self.max_batch_size > 0)
        return rows

    def _known(self, request: InferRequest) -> int:
        """The rows of a request whose every input has passed in this shape before; -1 if it must be looked at."""
        inputs = request.inputs
        count = len(inputs)
        if count != len(self.inputs):
            return -1
        rows = -1
        seen = None
        for tensor in inputs:
            spec = self.inputs.get(tensor.name)
            if spec is None or spec is seen or spec.datatype != tensor.datatype:
                return -1
            if spec.sizes.get(tensor.shape) != len(tensor.data):
                return -1
            seen = spec
            if self.max_batch_size:
                if rows >= 0 and rows != tensor.shape[0]:
                    return -1
                rows = tensor.shape[0]
        # Three and more might name one twice without being neighbours.
        if count > 2 and len({tensor.name for tensor in inputs}) != count:
            return -1
        return rows if self.max_batch_size else 1

    def _check_inputs(self, request: InferRequest) -> int:
        self._check_unique(request)
        if self.inputs:
            self._check_names(request)
        for tensor in request.inputs:
            spec = self.inputs.get(tensor.name)
            if spec is not None and tensor.datatype != spec.datatype:
                raise refusal(
                    request,
                    f"inference input '{tensor.name}' data-type is '{tensor.datatype}',"
                    f" but model '{self.model}' expects '{spec.datatype}'",
                )
        rows = self._check_batch(request) if self.max_batch_size else 1
        for tensor in request.inputs:
            self._check_shape(request, tensor)
        for tensor in request.inputs:
            self._check_size(request, tensor)
        return rows

    def _check_unique(self, request: InferRequest) -> None:
        seen = set()
        for tensor in request.inputs:
            if tensor.name in seen:
                raise refusal(request, f"input '{tensor.name}' already exists in request for model '{self.model}'")
            seen.add(tensor.name)

    def _check_names(self, request: InferRequest) -> None:
        names = [tensor.name for tensor in request.inputs]
        if not self._required <= len(names) <= len(self.inputs):
            raise refusal(request, self._count_text(names))
        for name in names:
            if name not in self.inputs:
                raise invalid(
                    f"unexpected inference input '{name}' for model '{self.model}', expected {sorted(self.inputs)}"
                )
        if any(not spec.optional and name not in names for name, spec in self.inputs.items()):
            raise refusal(request, self._count_text(names))

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
                raise refusal(
                    request,
                    f"input '{tensor.name}' has no shape but model requires batch dimension for '{self.model}'",
                )
            if rows >= 0 and tensor.shape[0] != rows:
                raise refusal(
                    request,
                    f"input '{tensor.name}' batch size does not match other inputs for '{self.model}':"
                    f" got {tensor.shape[0]}, expected {rows}",
                )
            rows = tensor.shape[0]
        if rows > self.max_batch_size:
            raise refusal(
                request,
                f"inference request batch-size must be <= {self.max_batch_size} for '{self.model}', got {rows}",
            )
        if rows == 0:
            raise refusal(
                request,
                f"input byte size mismatch for input '{request.inputs[0].name}' for model '{self.model}'."
                " Expected at least one row in the batch, got 0",
            )
        return max(rows, 1)

    def _check_shape(self, request: InferRequest, tensor: Tensor) -> None:
        spec = self.inputs.get(tensor.name)
        if any(size < 0 for size in tensor.shape):
            raise refusal(
                request,
                f"All input dimensions should be specified for input '{tensor.name}' for model '{self.model}',"
                f" got {_shape(tensor.shape)}",
            )
        if spec is None:
            return
        dims = tensor.shape[1:] if self.max_batch_size else tensor.shape
        if len(dims) == len(spec.dims) and all(want in (ANY, got) for want, got in zip(spec.dims, dims, strict=True)):
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
        raise refusal(request, text)

    def _check_size(self, request: InferRequest, tensor: Tensor) -> None:
        where = f"input '{tensor.name}' for model '{self.model}'"
        try:
            if tensor.datatype == "BYTES":
                byte_strings.validate(tensor.data, core.element_count(tensor.shape))
                return
            expected = core.byte_size(tensor.datatype, tensor.shape)
        except byte_strings.ElementsError as error:
            raise refusal(request, _strings_text(error, tensor.name, self.model)) from None
        except (OverflowError, ValueError) as error:
            raise refusal(request, f"{where}: {error}") from None
        if len(tensor.data) != expected:
            raise refusal(request, f"input byte size mismatch for {where}. Expected {expected}, got {len(tensor.data)}")
        spec = self.inputs.get(tensor.name)
        if spec is not None:
            if len(spec.sizes) >= SHAPES_REMEMBERED:
                spec.sizes.clear()
            spec.sizes[tensor.shape] = expected

    def _check_outputs(self, request: InferRequest) -> None:
        if not self.outputs:
            return
        for output in request.outputs or ():
            if output.name not in self.outputs:
                raise invalid(
                    f"unexpected inference output '{output.name}' for model '{self.model}',"
                    f" expected one of {sorted(self.outputs)}"
                )

    def restore(self, outputs: Iterable[Tensor]) -> None:
        """Give reshaped outputs the shape that the configuration's `dims` promise to clients."""
        reshape.to_client(outputs, self.outputs, self.max_batch_size > 0)


def _strings_text(error: byte_strings.ElementsError, name: str, model: str) -> str:
    """Triton's words for bytes that aren't the strings that the shape promises."""
    whose = f"inference input '{name}' for model '{model}'"
    if error.kind == "few":
        return f"expected {error.expected} string elements for {whose}, got {error.found}"
    if error.kind == "many":
        return f"unexpected number of string elements {error.found} for {whose}, expecting {error.expected}"
    if error.kind == "length":
        return (
            f"incomplete string length indicator for {whose}: element {error.element}"
            f" needs {error.expected} bytes, {error.found} are left"
        )
    return (
        f"incomplete string data for inference input '{name}', expecting string of length {error.expected}"
        f" but only {error.found} bytes available (element {error.element}, model '{model}')"
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
