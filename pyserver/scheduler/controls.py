"""Control tensors: what the sequence batcher adds to a request, so that the model knows where in its sequence it is."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pyserver.errors import invalid
from pyserver.types import SEQUENCE_END, SEQUENCE_START, Buffer, Tensor

READY = 4
"""A flag beside SEQUENCE_START and SEQUENCE_END: the slot holds a request, not a filler."""

_INTEGERS = {"UINT64": "<Q", "INT64": "<q", "UINT32": "<I", "INT32": "<i"}


@dataclass(frozen=True, slots=True)
class FlagControl:
    """A tensor of one value (raw bytes): `yes` where `flag` (SEQUENCE_START, SEQUENCE_END, READY) is set, else `no`."""

    name: str
    datatype: str
    flag: int
    no: bytes
    yes: bytes


@dataclass(frozen=True, slots=True)
class IdControl:
    """A tensor of the correlation id: UINT64, INT64, UINT32, INT32 or BYTES.

    A text has to become a number where the model wants one: its hash (Triton gives bytes of its memory).
    """

    name: str
    datatype: str

    def pack(self, model: str, correlation_id: int | str) -> bytes:
        """The raw bytes of `correlation_id`; ServerError (INVALID_ARG) for one that the datatype doesn't hold."""
        if self.datatype == "BYTES":
            text = str(correlation_id or "").encode()
            return struct.pack("<I", len(text)) + text
        if isinstance(correlation_id, str):
            size = struct.calcsize(_INTEGERS[self.datatype])
            return hashlib.blake2b(correlation_id.encode(), digest_size=size).digest()
        try:
            return struct.pack(_INTEGERS[self.datatype], correlation_id)
        except struct.error:
            raise invalid(
                f"model '{model}': correlation ID {correlation_id!r} doesn't fit control '{self.name}',"
                f" expected a value of {self.datatype}"
            ) from None


class Controls:
    """All controls of a model; `batching` says that its tensors have a batch dimension."""

    def __init__(self, flags: Sequence[FlagControl], correlation: IdControl | None, batching: bool) -> None:
        self._correlation = correlation
        self._shape = (1, 1) if batching else (1,)
        masks = range(2 * READY)
        # By mask of flags: tensors that nobody changes, and every request may share.
        self._flags = [[self._tensor(control, mask) for control in flags] for mask in masks]

    def check(self, model: str, correlation_id: int | str) -> None:
        """ServerError (INVALID_ARG) for an id that can't be told to the model."""
        if self._correlation is not None:
            self._correlation.pack(model, correlation_id)

    def tensors(self, model: str, correlation_id: int | str, flags: int) -> list[Tensor]:
        """The control tensors of a request with these SEQUENCE_START, SEQUENCE_END and READY flags."""
        tensors = self._flags[flags & (SEQUENCE_START | SEQUENCE_END | READY)]
        if self._correlation is None:
            return tensors
        packed: Buffer = self._correlation.pack(model, correlation_id)
        return [*tensors, Tensor(self._correlation.name, self._correlation.datatype, self._shape, packed)]

    def _tensor(self, control: FlagControl, mask: int) -> Tensor:
        value = control.yes if mask & control.flag else control.no
        return Tensor(control.name, control.datatype, self._shape, value)
