"""The shared memory regions that clients have registered: a table by name, and who still uses what was unregistered."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pyserver.errors import ErrorCode, ServerError, invalid, not_found, unavailable, unsupported
from pyserver.extension.object import open_object, read_into, shown, size_of, write_from
from pyserver.types import Buffer, Part

MAX_REGIONS = 1024
"""Each holds a descriptor of the server's."""
MAX_NAME = 256
DISABLED = "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."
_END = 1 << 63


class Region:
    """`byte_size` bytes from `offset` of the object `key`; open until the last `drop` of those who `hold` it."""

    __slots__ = ("_descriptor", "_holds", "byte_size", "key", "name", "offset")

    def __init__(self, name: str, key: str, offset: int, byte_size: int, descriptor: int) -> None:
        self.name = name
        self.key = key
        self.offset = offset
        self.byte_size = byte_size
        self._descriptor = descriptor
        self._holds = 1

    def hold(self) -> Region:
        """Keep it open until `drop`, whoever unregisters it."""
        self._holds += 1
        return self

    def drop(self) -> None:
        """Undo one `hold`, or the registration."""
        self._holds -= 1
        if not self._holds:
            os.close(self._descriptor)

    def check(self, part: Part) -> None:
        """ServerError (INVALID_ARG) unless `part` is some bytes of the region."""
        if not 0 <= part.offset < self.byte_size:
            raise invalid(
                f"Invalid offset for shared memory region: '{shown(self.name)}': got {part.offset}, "
                f"it has {self.byte_size} bytes"
            )
        if not 0 < part.byte_size <= self.byte_size - part.offset:
            raise invalid(
                f"Invalid offset + byte size for shared memory region: '{shown(self.name)}': "
                f"got {part.offset} + {part.byte_size}, it has {self.byte_size} bytes"
            )

    def read(self, part: Part, view: memoryview) -> None:
        """Fill `view`, which is as long as `part`. ServerError if the object has shrunk."""
        read_into(self._descriptor, view, self.offset + part.offset, self.name)

    def write(self, part: Part, data: Buffer) -> None:
        """Write `data` to the beginning of `part`. ServerError if the object has shrunk."""
        write_from(self._descriptor, data, self.offset + part.offset, self.name)

    def document(self) -> dict[str, Any]:
        """What a status answer says of it."""
        return {"name": self.name, "key": self.key, "offset": self.offset, "byte_size": self.byte_size}


class Regions:
    """The regions by name. Where clients may not register any (`allowed`), every method but `find` says so.

    `prefix` is how the objects have to be called whose keys clients may register.
    """

    def __init__(self, allowed: bool = True, prefix: str = "", opener: Callable[[str, str], int] = open_object) -> None:
        self._allowed = allowed
        self._prefix = prefix
        self._open = opener
        self._regions: dict[str, Region] = {}

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Let requests name `byte_size` bytes from `offset` of the object `key` by `name`.

        ServerError: ALREADY_EXISTS if the name is taken, INVALID_ARG for a name, a key or a size that can't be, and
        UNAVAILABLE where there are too many regions.
        """
        self._check_allowed()
        _check_name(name, "system")
        if name in self._regions:
            raise ServerError(ErrorCode.ALREADY_EXISTS, f"shared memory region '{shown(name)}' already in manager")
        if len(self._regions) >= MAX_REGIONS:
            raise unavailable(f"{MAX_REGIONS} shared memory regions are registered, the maximum allowed")
        if not 0 < byte_size < _END or not 0 <= offset < _END:
            raise invalid(
                f"failed to register shared memory region '{shown(name)}': invalid args: got offset {offset} and "
                f"byte_size {byte_size}, expected an offset from 0 and a size from 1"
            )
        descriptor = self._open(key, self._prefix)
        found = size_of(descriptor)
        if offset + byte_size > found:
            os.close(descriptor)
            raise invalid(
                f"Invalid shared memory region: '{shown(key)}': offset {offset} and byte_size {byte_size} go beyond "
                f"its {found} bytes"
            )
        self._regions[name] = Region(name, key, offset, byte_size, descriptor)

    def unregister(self, name: str) -> None:
        """Forget a region, or ("") all; one that nobody has registered is forgotten already."""
        self._check_allowed()
        gone = list(self._regions) if not name else [name] if name in self._regions else []
        for each in gone:
            self._regions.pop(each).drop()

    def status(self, name: str) -> list[dict[str, Any]]:
        """Name, key, offset and size of a region, or ("") of all. ServerError (NOT_FOUND) for one that is not there."""
        self._check_allowed()
        if name and name not in self._regions:
            raise not_found(f"Unable to find system shared memory region: '{shown(name)}'")
        return [region.document() for region in self._regions.values() if name in ("", region.name)]

    def find(self, part: Part) -> Region:
        """The region that `part` is of, which lies within it. ServerError as `Region.check`, or NOT_FOUND."""
        region = self._regions.get(part.region)
        if region is None:
            raise not_found(f"Unable to find shared memory region: '{shown(part.region)}'")
        region.check(part)
        return region

    def register_cuda(self, name: str, raw_handle: bytes, device_id: int, byte_size: int) -> None:
        """A ServerError (INVALID_ARG): there is no GPU that the server could open a handle on."""
        self._check_allowed()
        _check_name(name, "CUDA")
        raise invalid(
            f"failed to register CUDA shared memory region: '{shown(name)}', GPUs not supported: tensors of this "
            "server are in the host's memory, expected a system shared memory region"
        )

    def unregister_cuda(self, name: str) -> None:
        """None is registered: nothing to do."""
        self._check_allowed()

    def status_cuda(self, name: str) -> list[dict[str, Any]]:
        """None is registered: ServerError (NOT_FOUND) for any name."""
        self._check_allowed()
        if name:
            raise not_found(f"Unable to find cuda shared memory region: '{shown(name)}'")
        return []

    def close(self) -> None:
        """Let go of all."""
        for region in self._regions.values():
            region.drop()
        self._regions.clear()

    def _check_allowed(self) -> None:
        if not self._allowed:
            raise unsupported(DISABLED)


def _check_name(name: str, kind: str) -> None:
    if not name:
        raise invalid(f"'region name' is necessary to register {kind} shared memory region")
    if len(name) > MAX_NAME or "/" in name or not name.isprintable():
        raise invalid(
            f"'{shown(name)}' is no name for a shared memory region, expected at most {MAX_NAME} printable characters "
            "and no slash"
        )
