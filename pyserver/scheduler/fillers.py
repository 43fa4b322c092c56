"""Fillers: what stands in a batch for a slot that has no request ready, so that row n is always slot n."""

from __future__ import annotations

from pyserver.core.tensor import byte_size
from pyserver.errors import ServerError
from pyserver.payload import Pending
from pyserver.types import InferRequest, InferResponse, RequestedOutput, Tensor


class Nobody:
    """Who waits for the answer to a filler."""

    def answer(self, response: InferResponse, final: bool) -> None:
        """Give its memory back."""
        response.release()

    def fail(self, error: ServerError) -> None:
        """The requests beside it hear the same."""


NOBODY = Nobody()


def zeros(datatype: str, shape: tuple[int, ...]) -> bytes:
    """The raw bytes of a tensor of zeros, or of empty strings."""
    if datatype == "BYTES":
        count = 1
        for size in shape:
            count *= size
        return bytes(4 * count)
    return bytes(byte_size(datatype, shape))


def filler(like: InferRequest, outputs: list[RequestedOutput] | None, more: list[Tensor], now_ns: int) -> Pending:
    """A request of zeros in the shapes of `like`, with the tensors `more` beside them."""
    inputs = [
        Tensor(tensor.name, tensor.datatype, tensor.shape, zeros(tensor.datatype, tensor.shape))
        for tensor in like.inputs
    ]
    request = InferRequest(like.model_name, like.model_version, inputs=inputs + more, outputs=outputs)
    return Pending(request, NOBODY, now_ns, 1, 0)
