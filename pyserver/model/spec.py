"""An input or output as a model's configuration has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pyserver.errors import ServerError, invalid
from pyserver.types import InferRequest

ANY = -1


@dataclass(slots=True)
class TensorSpec:
    """`dims` are without the batch dimension, -1 where any size will do.

    `reshape` is the shape the model itself sees, where the configuration gives one. `sizes` remembers shapes, batch
    dimension included, that have been found right, with the bytes they take: most requests need one look-up, no check.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool = False
    reshape: tuple[int, ...] | None = None
    sizes: dict[tuple[int, ...], int] = field(default_factory=dict)


def specs_of(entries: Iterable[Any]) -> list[TensorSpec]:
    """The specs of a ModelConfig message's `input` or `output`."""
    return [_spec(entry) for entry in entries]


def refusal(request: InferRequest, text: str) -> ServerError:
    """The client's mistake, behind the prefix by which Triton names the request."""
    return invalid(f"[request id: {request.id or '<id_unknown>'}] {text}")


def _spec(entry: Any) -> TensorSpec:
    datatype = entry.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[entry.data_type].name
    short = datatype.removeprefix("TYPE_")
    reshape = tuple(entry.reshape.shape) if entry.HasField("reshape") else None
    optional = bool(getattr(entry, "optional", False))
    return TensorSpec(entry.name, "BYTES" if short == "STRING" else short, tuple(entry.dims), optional, reshape)
