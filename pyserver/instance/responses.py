"""A stub's response arena as the server sees it: read only, every window checked before it is looked into."""

from __future__ import annotations

from typing import Any

from pyserver.errors import ErrorCode, ServerError
from pyserver.instance.flight import Flight
from pyserver.instance.layouts import BYTES_SIZE, ResponseLayouts
from pyserver.instance.link import Link
from pyserver.instance.memory import RequestMemory
from pyserver.ipc.arena import Mapping
from pyserver.ipc.messages import MessageError, Windows, unpack_json
from pyserver.ipc.words import CONTROL_BYTES, EXECUTING, HEARTBEAT, control_words
from pyserver.types import Lease, Parameter, Tensor


class ResponseLease:
    """Holds the block of one response until whoever wrote it to the wire is done."""

    __slots__ = ("_link", "_nbytes", "_offset")

    def __init__(self, link: Link, offset: int, nbytes: int) -> None:
        self._link: Link | None = link
        self._offset = offset
        self._nbytes = nbytes

    def release(self) -> None:
        """Give the block back to the stub; again for nothing, and for nothing once the stub is gone."""
        link, self._link = self._link, None
        if link is not None:
            link.give_back(self._offset, self._nbytes)


class RowsBlock:
    """The block of several responses, each of which holds it by a `RowLease`."""

    __slots__ = ("_holds", "_link", "_nbytes", "_offset")

    def __init__(self, link: Link, offset: int, nbytes: int, holds: int) -> None:
        self._link = link
        self._offset = offset
        self._nbytes = nbytes
        self._holds = holds

    def drop(self) -> None:
        """One response less needs it; with the last one it goes back to the stub."""
        self._holds -= 1
        if not self._holds:
            self._link.give_back(self._offset, self._nbytes)


class RowLease:
    """One response's hold on a block that it shares."""

    __slots__ = ("_block",)

    def __init__(self, block: RowsBlock) -> None:
        self._block: RowsBlock | None = block

    def release(self) -> None:
        """Need it no more; again for nothing."""
        block, self._block = self._block, None
        if block is not None:
            block.drop()


class StreamLease:
    """Holds one response of a stream, not the last: until its release it counts as unread."""

    __slots__ = ("_flight", "_memory", "_of", "_row")

    def __init__(self, flight: Flight, row: int, memory: RequestMemory, of: Lease | None) -> None:
        flight.streamed = True
        self._flight: Flight | None = flight
        self._row = row
        self._memory = memory
        self._of = of

    def release(self) -> None:
        """Give its memory back and let the stub send another one; again for nothing."""
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.took(self._row, self._memory)
            if self._of is not None:
                self._of.release()


class ResponseMemory:
    """The mapping of a response arena, and what its layouts mean. Views into it outlive the stub, and this object."""

    def __init__(self, fd: int) -> None:
        mapping = Mapping(fd, writable=False)
        self._view = mapping.view
        self._size = mapping.size
        self._control = control_words(mapping.view)
        self._layouts = ResponseLayouts()

    @property
    def begun(self) -> int:
        """The number of the payload that the stub executes, or executed last."""
        return self._control[EXECUTING]

    def numbers(self, offset: int, count: int) -> Any:
        """`count` 64-bit floats at `offset`, which the stub goes on writing; MessageError outside of the arena."""
        if offset < CONTROL_BYTES or offset % 8 or not 0 < count < 1 << 16 or offset + 8 * count > self._size:
            raise MessageError(f"{count} numbers at {offset} of an arena of {self._size}")
        return self._view[offset : offset + 8 * count].cast("d")

    @property
    def heartbeat(self) -> int:
        """What goes up while the stub loads its model."""
        return self._control[HEARTBEAT]

    def close(self) -> None:
        """Let go of the memory now, not when the collector comes by; the views of answers keep it while they live."""
        self._control.release()
        self._view.release()

    def outputs(self, layout: bytes, windows: Windows) -> list[Tensor]:
        """The tensors of a response; MessageError for what a stub in order would not say."""
        specs = self._layouts.get(layout) if layout else []
        if 2 * len(specs) != len(windows):
            raise MessageError(f"{len(specs)} outputs in {len(windows) // 2} windows")
        outputs = []
        at = 0
        for name, datatype, shape, nbytes in specs:
            offset, size = windows[at], windows[at + 1]
            at += 2
            if size != nbytes and nbytes != BYTES_SIZE:
                raise MessageError(f"output '{name}' of {nbytes} bytes has a window of {size}")
            if offset + size > self._size:
                raise MessageError(f"output '{name}' ends at {offset + size}, the arena at {self._size}")
            outputs.append(Tensor(name, datatype, shape, self._view[offset : offset + size]))
        return outputs

    def rows(self, layout: bytes, count: int, offset: int, size: int) -> list[Tensor]:
        """The only outputs of `count` responses, side by side; MessageError as `outputs`."""
        specs = self._layouts.get(layout)
        if len(specs) != 1:
            raise MessageError(f"{len(specs)} outputs in rows of one")
        name, datatype, shape, nbytes = specs[0]
        if size != nbytes and nbytes != BYTES_SIZE:
            raise MessageError(f"output '{name}' of {nbytes} bytes has a row of {size}")
        end = offset + count * size
        if end > self._size:
            raise MessageError(f"output '{name}' ends at {end}, the arena at {self._size}")
        view = self._view
        # Not by range: a size of 0 is no step.
        starts = [offset + row * size for row in range(count)]
        return [Tensor(name, datatype, shape, view[start : start + size]) for start in starts]


def parameters_in(extras: bytes) -> dict[str, Parameter] | None:
    """The parameters in a response's extras; MessageError if they aren't any."""
    found = unpack_json(extras).get("parameters")
    if found is None:
        return None
    if not isinstance(found, dict) or not all(isinstance(value, (bool, int, float, str)) for value in found.values()):
        raise MessageError("parameters of a response are not an object of scalars")
    return found


def error_in(code: int, extras: bytes) -> tuple[ServerError, str]:
    """The error in a response, and the traceback, or "", behind it; MessageError if there is none in it."""
    said = unpack_json(extras)
    message, traceback = said.get("message"), said.get("traceback", "")
    if not isinstance(message, str) or not isinstance(traceback, str):
        raise MessageError("an error response without a message")
    try:
        error = ServerError(ErrorCode(code), message)
    except ValueError:
        raise MessageError(f"unknown error code {code}") from None
    status = said.get("status", 0)
    if type(status) is int and 400 <= status < 600:
        error.status = status
    return error, traceback
