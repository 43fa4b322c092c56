"""Raw requests: a body that is the bare content of a model's only input, whose shape follows from its size."""

from __future__ import annotations

from collections.abc import Collection

from pyserver.core import bytes as byte_strings
from pyserver.core import tensor as core
from pyserver.model.spec import ANY, TensorSpec, refusal
from pyserver.types import InferRequest


def deduce(request: InferRequest, specs: Collection[TensorSpec], model: str, batching: bool) -> None:
    """Give a raw request's only tensor the name, datatype and shape of the model's only input.

    ServerError (INVALID_ARG) if the model has several, or if the size of the body fits none of its shapes.
    """
    if len(specs) != 1:
        raise refusal(
            request,
            f"Raw request must only have 1 input (found 1) to be deduced but got {len(specs)} inputs"
            f" in '{model}' model configuration",
        )
    (spec,) = specs
    tensor = request.inputs[0]
    tensor.name, tensor.datatype = spec.name, spec.datatype
    batch = (1,) if batching else ()
    if spec.datatype == "BYTES":
        if spec.dims != (1,):
            raise refusal(request, f"For BYTE datatype raw input '{spec.name}', the model must have input shape [1]")
        tensor.data = byte_strings.pack([bytes(tensor.data)])
        tensor.shape = (*batch, 1)
    else:
        tensor.shape = (*batch, *_dims(request, spec, model, len(tensor.data)))
    request.raw_input = False


def _dims(request: InferRequest, spec: TensorSpec, model: str, nbytes: int) -> tuple[int, ...]:
    if spec.dims.count(ANY) > 1:
        raise refusal(
            request,
            f"The shape of the raw input '{spec.name}' can not be deduced because there are more than one"
            " variable-sized dimension",
        )
    fixed = core.byte_size(spec.datatype, tuple(size for size in spec.dims if size != ANY))
    if nbytes % fixed if ANY in spec.dims else nbytes != fixed:
        expected = f"a multiple of {fixed}" if ANY in spec.dims else fixed
        raise refusal(
            request,
            f"input byte size mismatch for input '{spec.name}' (raw_input) for model '{model}'."
            f" Expected {expected}, got {nbytes}",
        )
    return tuple(nbytes // fixed if size == ANY else size for size in spec.dims)
