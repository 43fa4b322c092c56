from typing import Any

from pyserver.ipc.messages import Windows

def from_stub(message: bytes) -> list[tuple[Any, ...]]: ...
def pack_execute_one(
    payload: int, key: int, slot: int, layout: bytes, windows: Windows, extras: bytes = b""
) -> bytes: ...
