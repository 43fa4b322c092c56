"""The nouns that every floor of the staircase hands to the next: tensors, requests, responses.

They hold bytes, never numbers: a tensor's `data` is a view of its elements in the V2 protocol's raw layout
(little-endian, row-major, no padding; BYTES elements each behind a 4-byte little-endian length). Whose memory that
view looks into is the business of the `Lease` beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from pyserver.errors import ServerError

if TYPE_CHECKING:
    from pyserver.observe.trace import Trace

Parameter: TypeAlias = "bool | int | float | str"
Buffer: TypeAlias = "bytes | bytearray | memoryview"

SEQUENCE_START = 1
SEQUENCE_END = 2


class Lease(Protocol):
    """A hold on memory that somebody else owns; `release` gives it back, once, and may be called again for nothing."""

    def release(self) -> None:
        """Give the memory back."""


class Place(Lease, Protocol):
    """A lease of memory to receive a body into: `view` is exactly as long as was asked for."""

    view: memoryview


@dataclass(slots=True)
class Tensor:
    """A named tensor: `shape` in elements, `data` in raw V2 bytes (`len(data)` is its byte size).

    `datatype` is the protocol's name: BOOL, UINT8..UINT64, INT8..INT64, FP16, FP32, FP64, BF16 or BYTES.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Buffer
    parameters: dict[str, Parameter] | None = None


@dataclass(slots=True)
class RequestedOutput:
    """An output that the client named, and the form in which it wants it."""

    name: str
    binary: bool = False
    parameters: dict[str, Parameter] | None = None


class Part(NamedTuple):
    """`byte_size` bytes from `offset` of the shared memory that a client has registered as `region`."""

    region: str
    offset: int
    byte_size: int


class Extension(NamedTuple):
    """What a request asks beyond its tensors. Never changed: requests share it.

    `inputs` says, by position, which inputs lie in shared memory (their `data` is empty); `outputs`, by name, which
    outputs go there; `classes` of which outputs the greatest values are wanted, and how many.
    """

    inputs: dict[int, Part]
    outputs: dict[str, Part]
    classes: dict[str, int]


@dataclass(slots=True)
class InferRequest:
    """One inference, as decoded from any protocol.

    `outputs` is None when the client named none: it wants all. `timeout_us` (microseconds, 0 for none) and `priority`
    (0 for the model's default) are the schedule-policy parameters. `correlation_id` is 0 or "" outside a sequence;
    `flags` is a mask of SEQUENCE_START and SEQUENCE_END. `parameters` holds the custom ones alone, in the order given.
    `raw_input` says that the body is the bare content of the model's only input (header length 0): `inputs` then
    holds one tensor without name, datatype and shape, which `Model` deduces. `binary_output` says of a gRPC request
    that its tensors came raw.
    `lease` holds the memory that the inputs' views look into, where that is not the garbage collector's.
    `trace` is what is noted of it, where it is traced.
    `empty_final` asks for a message of its own where a stream ends without a last response.
    `metadata` is what came beside a gRPC message, where its engine tells it.
    `deadline_ns` (monotonic nanoseconds, 0 for never) is that of the request on whose behalf an ensemble or a model
    asks: nothing is begun for it from then on, whatever the model's own policy says.
    `extension` is None for most: what the data plane has to do beside running the model.
    """

    model_name: str
    model_version: str = ""
    id: str = ""
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[RequestedOutput] | None = None
    parameters: dict[str, Parameter] = field(default_factory=dict)
    binary_output: bool = False
    raw_input: bool = False
    priority: int = 0
    timeout_us: int = 0
    correlation_id: int | str = 0
    flags: int = 0
    lease: Lease | None = None
    empty_final: bool = False
    extension: Extension | None = None
    trace: Trace | None = None
    deadline_ns: int = 0
    metadata: Sequence[tuple[str, str]] | None = None


@dataclass(slots=True)
class OpenRequest(InferRequest):
    """A REST request to an MLServer model, answered as MLServer does; its last input is its envelope (`ipc.envelope`).

    `server_name` is what the answer's headers call this server.
    """

    server_name: str = ""


@dataclass(slots=True)
class InferResponse:
    """One answer. Its outputs' views are valid until `release`, which whoever wrote them to the wire calls once.

    In a stream `error` is set where an answer is an error, and `empty` where there is none: it only ends the stream.
    """

    model_name: str
    model_version: str
    id: str = ""
    outputs: list[Tensor] = field(default_factory=list)
    parameters: dict[str, Parameter] | None = None
    lease: Lease | None = None
    error: ServerError | None = None
    empty: bool = False

    def release(self) -> None:
        """Give the memory of the outputs back to whoever owns it."""
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.release()


Clock: TypeAlias = Callable[[], int]
"""Monotonic nanoseconds, as `time.monotonic_ns`: handed in, so that tests need not wait."""
