"""ModelInferRequest and ModelInferResponse on the wire: csrc/pyserver/core/wire.pyx."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from typing_extensions import Buffer

MAX_ITEMS: Final[int]
MAX_DIMENSIONS: Final[int]

_Parameters: TypeAlias = dict[str, bool | int | float | str]
# A parameter without a value arrives as None.
_Received: TypeAlias = dict[str, bool | int | float | str | None]
_Tensor: TypeAlias = tuple[str, str, tuple[int, ...], _Received | None, Contents | None]

class WireError(ValueError):
    reason: str
    offset: int
    def __init__(self, reason: str, offset: int) -> None: ...

class Contents:
    @property
    def datatype(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def buffer(self) -> bytes: ...
    def fits(self, datatype: str) -> bool: ...
    def raw(self, datatype: str) -> bytes: ...

class Message:
    @property
    def model_name(self) -> str: ...
    @property
    def model_version(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def parameters(self) -> _Received: ...
    @property
    def raw(self) -> list[bytes | memoryview]: ...

class Request(Message):
    @property
    def inputs(self) -> list[_Tensor]: ...
    @property
    def outputs(self) -> list[tuple[str, _Received | None]]: ...

class Response(Message):
    @property
    def outputs(self) -> list[_Tensor]: ...

def decode_request(data: Buffer) -> Request: ...
def decode_response(data: Buffer) -> Response: ...
def encode_request(
    model_name: str,
    model_version: str,
    id: str,
    parameters: _Parameters | None,
    inputs: Sequence[tuple[str, str, Sequence[int], _Parameters | None]],
    outputs: Sequence[tuple[str, _Parameters | None]],
    raw: Sequence[Buffer],
) -> bytes: ...
def encode_response(
    model_name: str,
    model_version: str,
    id: str,
    parameters: _Parameters | None,
    outputs: Sequence[tuple[str, str, Sequence[int], _Parameters | None]],
    raw: Sequence[Buffer],
    streamed: bool = False,
) -> bytes: ...
