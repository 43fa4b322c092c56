"""BYTES elements: csrc/pyserver/core/bytes.pyx."""

from collections.abc import Iterable
from typing import Any, Literal

from numpy.typing import NDArray
from typing_extensions import Buffer

class ElementsError(ValueError):
    kind: Literal["few", "many", "length", "data"]
    element: int
    expected: int
    found: int
    def __init__(
        self, kind: Literal["few", "many", "length", "data"], element: int, expected: int, found: int
    ) -> None: ...

def validate(data: Buffer, count: int) -> None: ...
def unpack(data: Buffer, count: int) -> list[bytes]: ...
def packed_size(values: Iterable[object] | NDArray[Any]) -> int: ...
def pack(values: Iterable[object] | NDArray[Any]) -> bytes: ...
def pack_into(destination: Buffer, offset: int, values: Iterable[object] | NDArray[Any]) -> int: ...
