"""Documents of a form that was seen before: csrc/pyserver/core/form.pyx."""

from collections.abc import Iterable

from typing_extensions import Buffer

from pyserver.core.json import JsonData

class JsonForm:
    def __init__(self, body: Buffer, arrays: Iterable[JsonData]) -> None: ...
    def fill(self, body: Buffer, max_bytes: int) -> list[bytes] | None: ...
