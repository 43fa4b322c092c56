"""Answers on their way into the response arena: where the outputs of a response are laid out and written."""

from __future__ import annotations

import json
import threading
from typing import Any, Callable, Dict, Sequence, Tuple

from pyserver.ipc.arena import ALIGNMENT, Arena, ArenaFull
from pyserver.ipc.messages import FINAL, OK, Layout, Spec, pack_layout, pack_response, pack_rows
from pyserver.stub.response import ErrorCode, InferenceResponse
from pyserver.stub.tensor import Tensor

_MOST_LAYOUTS = 4096
_LARGEST_ROW = 4096  # bytes: the block of answers in one record is held until all of them are read
_NO_TENSORS = pack_layout(Layout(()))


class Layouts(Dict[Tuple[Spec, ...], bytes]):
    """The packed layout of the specs of a response's tensors, kept for the next response that looks the same."""

    def __missing__(self, specs: tuple[Spec, ...]) -> bytes:
        if len(self) >= _MOST_LAYOUTS:
            self.clear()
        packed = self[specs] = pack_layout(Layout(specs))
        return packed


class Answers:
    """Makes RESPONSE records, the outputs being written to `arena`.

    `reclaim` is called once when the arena is full, and may free blocks that the server has given back meanwhile.
    Any thread may call any method.
    """

    def __init__(self, arena: Arena, reclaim: Callable[[], None]) -> None:
        self._arena = arena
        self._map = arena.map
        self.reclaim = reclaim
        self._layouts = Layouts()
        self._lock = threading.RLock()

    def free(self, offsets: tuple[int, ...]) -> None:
        """Take back blocks that the server has read."""
        with self._lock:
            for offset in offsets:
                self._arena.free(offset)

    def trim(self, now_ns: int) -> None:
        """Give idle memory back to the system."""
        with self._lock:
            self._arena.trim(now_ns)

    def cells(self, count: int) -> tuple[int, Any]:
        """Offset and memory of `count` numbers (64-bit floats, 0 at first) that the server reads when it likes."""
        offset = self._allocated(8 * count)
        block = self._arena.view[offset : offset + 8 * count]
        block[:] = bytes(8 * count)
        return offset, block.cast("d")

    def response(
        self, key: int, response: InferenceResponse, wanted: frozenset[str] | None, flags: int = FINAL
    ) -> bytes:
        """The record that answers request `key`: the outputs in `wanted` (None: all), or an error if they cannot be."""
        error = response._error
        if error is not None:
            return self.error(key, error.code(), error.message(), flags=flags)
        try:
            layout, windows = self.outputs(response, wanted)
        except ArenaFull as full:
            message = f"the outputs need {full.nbytes} bytes, and the instance may hold {full.budget} at a time"
            return self.error(key, ErrorCode.UNAVAILABLE, message, flags=flags)
        except Exception as broken:
            message = f"Failed to send the outputs: {type(broken).__name__}: {broken}"
            return self.error(key, ErrorCode.INTERNAL, message, flags=flags)
        if response._parameters:
            extras = json.dumps({"parameters": response._parameters}).encode()
            return pack_response(key, OK, flags, layout, windows, extras)
        return pack_response(key, OK, flags, layout, windows)

    def rows(
        self, key: int, responses: Sequence[InferenceResponse | None], wanted: frozenset[str] | None
    ) -> bytes | None:
        """The record that answers requests `key`, `key` + 1, ... at once: one small output each, all alike.

        None, and nothing is written, where they are not.
        """
        first: Any = None
        data: list[Any] = []
        size = 0
        for response in responses:
            if response is None or response._error is not None or response._parameters or len(response._tensors) != 1:
                return None
            tensor = response._tensors[0]
            if tensor._datatype == "BYTES":
                return None
            try:
                spec, row, size = tensor._packed()
            except Exception:
                return None
            if first is None:
                first = spec
                if not 0 < size <= _LARGEST_ROW or (wanted is not None and spec[0] not in wanted):
                    return None
            elif spec != first:
                return None
            data.append(row)
        try:
            offset = self._allocated(size * len(data))
        except ArenaFull:
            return None
        self._map[offset : offset + size * len(data)] = b"".join(data)
        return pack_rows(key, len(data), self._layouts[(first,)], offset, size)

    def outputs(self, response: InferenceResponse, wanted: frozenset[str] | None) -> tuple[bytes, tuple[int, ...]]:
        """Write the outputs of a response that are wanted; return their layout and windows."""
        tensors = response._tensors
        if wanted is not None and not (len(tensors) == 1 and tensors[0]._name in wanted):
            tensors = [tensor for tensor in tensors if tensor._name in wanted]
        return self.written(tensors)

    def error(
        self, key: int, code: int, message: str, traceback: str = "", flags: int = FINAL, status: int = 0
    ) -> bytes:
        """The record that says why request `key` has no answer; the last one, unless it is one of a stream.

        `status` is the HTTP status that the model chose, 0 for what follows from `code`.
        """
        extras: dict[str, Any] = {"message": message}
        if traceback:
            extras["traceback"] = traceback
        if status:
            extras["status"] = status
        return pack_response(key, int(code), flags, _NO_TENSORS, (), json.dumps(extras).encode())

    def nothing(self, key: int, flags: int) -> bytes:
        """The record that answers request `key` by its flags alone."""
        return pack_response(key, OK, flags, _NO_TENSORS, ())

    def written(self, tensors: list[Tensor]) -> tuple[bytes, tuple[int, ...]]:
        """Write the tensors side by side into one block; return their layout and windows."""
        if len(tensors) == 1:
            spec, data, size = tensors[0]._packed()
            layout = self._layouts[(spec,)]
            offset = self._allocated(size)
            try:
                self._map[offset : offset + size] = data
            except BaseException:
                self.free((offset,))
                raise
            return layout, (offset, size)
        if not tensors:
            return _NO_TENSORS, ()
        packed = [tensor._packed() for tensor in tensors]
        layout = self._layouts[tuple([spec for spec, _, _ in packed])]
        block = offset = self._allocated(sum([(size + ALIGNMENT - 1) & -ALIGNMENT for _, _, size in packed]))
        windows: list[int] = []
        try:
            for _, data, size in packed:
                self._map[offset : offset + size] = data
                windows += offset, size
                offset += (size + ALIGNMENT - 1) & -ALIGNMENT
        except BaseException:
            self.free((block,))
            raise
        return layout, tuple(windows)

    def _allocated(self, nbytes: int) -> int:
        with self._lock:
            try:
                return self._arena.allocate(nbytes)
            except ArenaFull:
                self.reclaim()
                return self._arena.allocate(nbytes)
