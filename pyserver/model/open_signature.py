"""The signature of an MLServer model, which declares nothing that a request has to keep to."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import orjson

from pyserver.core import bytes as byte_strings
from pyserver.core import tensor as core
from pyserver.errors import invalid
from pyserver.ipc import envelope
from pyserver.model.signature import SHAPES_REMEMBERED, Signature
from pyserver.types import InferRequest, OpenRequest, Tensor

_REMEMBERED = 1024
_LONGEST = 4096


class OpenSignature(Signature):
    """Any inputs, by any names, in any shapes, as long as their bytes are what datatype and shape say.

    A request without an envelope gets one. Its rows count as one: MLServer's batches are of requests.
    """

    def __init__(self, model: str) -> None:
        super().__init__(model, 0, (), ())
        self._sizes: dict[tuple[str, tuple[int, ...]], int] = {}

    def check(self, request: InferRequest) -> int:
        """Check the sizes of `request` and give it an envelope; 1. ServerError (INVALID_ARG) for other sizes."""
        if request.raw_input:
            raise invalid(f"model '{self.model}': expected a JSON request, got a raw one")
        if type(request) is not OpenRequest and (not request.inputs or type(request.inputs[-1]) is not Envelope):
            enclose(request)
        for tensor in request.inputs[:-1]:
            if not tensor.name or self._sizes.get((tensor.datatype, tensor.shape)) != len(tensor.data):
                self._check_open(tensor)
        return 1

    def _check_open(self, tensor: Tensor) -> None:
        where = f"input '{tensor.name}' for model '{self.model}'"
        if not tensor.name:
            raise invalid(f"model '{self.model}': an input has no name")
        if any(size < 0 for size in tensor.shape):
            raise invalid(f"{where} has shape {list(tensor.shape)}, expected sizes of 0 and more")
        if isinstance(tensor, RawJson):
            return
        try:
            if tensor.datatype == "BYTES":
                byte_strings.validate(tensor.data, core.element_count(tensor.shape))
                return
            expected = core.byte_size(tensor.datatype, tensor.shape)
        except (OverflowError, ValueError) as error:
            raise invalid(f"{where}: {error}") from None
        if len(tensor.data) != expected:
            raise invalid(f"{where} has {len(tensor.data)} bytes, expected {expected} of shape {list(tensor.shape)}")
        if len(self._sizes) >= SHAPES_REMEMBERED:
            self._sizes.clear()
        self._sizes[tensor.datatype, tensor.shape] = expected


class Envelope(Tensor):
    """The envelope of a request: no client's input is one, whatever its name."""

    __slots__ = ()


class RawJson(Tensor):
    """An input whose data are no tensor: JSON text, which the model reads as it came."""

    __slots__ = ()


def enclose(request: InferRequest, headers: bytes = b"", stream: bool = False, feed: bool = False) -> None:
    """Give an envelope to a request that came by gRPC, or from another model; `headers` are JSON."""
    packed = envelope.pack(headers, _rest(request, stream, feed))
    request.inputs.append(Envelope(envelope.NAME, envelope.DATATYPE, envelope.SHAPE, packed))


def _rest(request: InferRequest, stream: bool, feed: bool) -> bytes:
    said: dict[str, Any] = {}
    if stream:
        said["stream"] = True
    if feed:
        said["feed"] = True
    if request.parameters:
        said["parameters"] = request.parameters
    if not request.binary_output:
        said["typed"] = True
    if any(tensor.parameters for tensor in request.inputs):
        said["inputs"] = [{"parameters": tensor.parameters} if tensor.parameters else {} for tensor in request.inputs]
    if request.outputs:
        said["outputs"] = [
            {"name": output.name, "parameters": output.parameters} if output.parameters else {"name": output.name}
            for output in request.outputs
        ]
    return orjson.dumps(said)


class OpenKey:
    """What requests to an MLServer model must have in common to share a batch.

    Names, datatypes, shapes but for rows, content types, requested outputs, parameters beside headers. One without
    rows, with data that are no tensor, or that wants a stream or a custom handler runs alone.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Hashable] = {}

    def __call__(self, request: InferRequest) -> Hashable:
        """The key of a request."""
        inputs = request.inputs
        if len(inputs) < 2:
            return _Alone()
        rows = inputs[0].shape[:1]
        if not rows or not rows[0] or any(tensor.shape[:1] != rows for tensor in inputs[:-1]):
            return _Alone()
        rest = envelope.split(inputs[-1].data)[1]
        said = self._known.get(rest)
        if said is None:
            said = _said(rest)
            if len(rest) <= _LONGEST:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[rest] = said
        if said is ALONE:
            return _Alone()
        return said, tuple([(tensor.name, tensor.datatype, tensor.shape[1:]) for tensor in inputs[:-1]])


class _Alone:
    """Equal to nothing else."""


ALONE = _Alone()


def _said(rest: bytes) -> Hashable:
    said = orjson.loads(rest) if rest else {}
    inputs = said.get("inputs") or []
    if said.get("stream") or "handler" in said or any(own.get("json") for own in inputs):
        return ALONE
    types = [own.get("parameters", {}).get("content_type") for own in inputs]
    common = [said.get("parameters"), said.get("outputs"), said.get("text"), said.get("typed"), types]
    return orjson.dumps(common, option=orjson.OPT_SORT_KEYS)
