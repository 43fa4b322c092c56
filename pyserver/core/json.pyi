"""JSON requests to Python objects and typed buffers, tensors to JSON: csrc/pyserver/core/json.pyx."""

from typing import Any, Final, Literal

from typing_extensions import Buffer

MAX_VALUES: Final[int]
MAX_DEPTH: Final[int]

class JsonError(ValueError):
    kind: Literal["syntax", "depth", "limit", "type", "range", "duplicate"]
    reason: str
    offset: int
    got: str
    name: Any
    def __init__(self, kind: str, reason: str, offset: int, got: str) -> None: ...

class JsonData:
    @property
    def datatype(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def nested(self) -> bool: ...
    @property
    def buffer(self) -> bytes: ...
    def scan(self, datatype: str) -> None: ...

def loads(body: Buffer, max_bytes: int = ..., max_depth: int = 100) -> Any: ...
def dumps_array(datatype: str, data: Buffer, count: int, nulls: bool = False) -> bytes: ...
