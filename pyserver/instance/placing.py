"""Where the inputs of a payload go in the request arena: one block a payload, the rows of a batch side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pyserver.core.batch import gather
from pyserver.core.tensor import address, itemsize
from pyserver.instance.memory import Block, RequestMemory
from pyserver.ipc.messages import Windows
from pyserver.types import Buffer, InferRequest, Tensor

NO_BLOCK = -1


class Placed(NamedTuple):
    """The inputs of a payload: the block they were copied to (NO_BLOCK if none was), and each request's windows.

    `lent` are the blocks of bodies received in place, which windows may point into.
    """

    offset: int
    windows: list[Windows]
    lent: list[Block]


def place_one(memory: RequestMemory, request: InferRequest) -> tuple[int, Windows]:
    """Copy the inputs of a request that nothing of was received in place: offset of the block, windows."""
    inputs = request.inputs
    if len(inputs) == 1:
        data = inputs[0].data
        size = len(data)
        offset = memory.arena.allocate(size)
        memory.view[offset : offset + size] = data
        return offset, (offset, size)
    if not inputs:
        return NO_BLOCK, ()
    starts, total = [], 0
    for tensor in inputs:
        starts.append(total)
        total += (len(tensor.data) + 63) & ~63
    offset = memory.arena.allocate(total)
    view = memory.view
    windows: list[int] = []
    for tensor, start in zip(inputs, starts, strict=True):
        data = tensor.data
        size, start = len(data), offset + start
        view[start : start + size] = data
        windows += (start, size)
    return offset, tuple(windows)


def place_rows(memory: RequestMemory, requests: Sequence[InferRequest]) -> tuple[int, int] | None:
    """Copy the only inputs of requests that nothing of was received in place side by side: offset of the block, bytes
    of each. None if they have more inputs, or are not of one size.
    """
    if len(requests[0].inputs) != 1:
        return None
    rows = [request.inputs[0].data for request in requests]
    size = len(rows[0])
    if any(map(size.__ne__, map(len, rows))):
        return None
    offset = memory.arena.allocate(size * len(rows))
    gather(memory.view, offset, rows)
    return offset, size


def place_all(memory: RequestMemory, requests: Sequence[InferRequest]) -> Placed:
    """Copy what is not in the arena already: all requests' values of one input adjacent, then those of the next."""
    blocks = [_block(memory, request) for request in requests]
    only = {request.inputs[0].name if len(request.inputs) == 1 else "" for request in requests}
    if len(only) == 1 and "" not in only and not any(blocks):
        return _place_column(memory, [request.inputs[0].data for request in requests])
    return _place_columns(memory, requests, blocks)


def _place_column(memory: RequestMemory, rows: Sequence[Buffer]) -> Placed:
    """Most batches: one input, and none of it was received in place."""
    windows: list[Windows] = []
    total = 0
    for row in rows:
        windows.append((total, len(row)))
        total += len(row)
    offset = memory.arena.allocate(total)
    gather(memory.view, offset, rows)
    return Placed(offset, [(offset + start, size) for start, size in windows], [])


def _place_columns(memory: RequestMemory, requests: Sequence[InferRequest], blocks: list[Block | None]) -> Placed:
    columns: dict[str, list[tuple[int, int]]] = {}
    for row, request in enumerate(requests):
        for position, tensor in enumerate(request.inputs):
            columns.setdefault(tensor.name, []).append((row, position))
    windows = [[0] * (2 * len(request.inputs)) for request in requests]
    copies: list[tuple[list[int], int, int, Buffer]] = []
    total = 0
    for cells in columns.values():
        total = (total + 63) & ~63
        for row, position in cells:
            tensor = requests[row].inputs[position]
            at = _in_place(memory, tensor) if blocks[row] else NO_BLOCK
            size = len(tensor.data)
            windows[row][2 * position : 2 * position + 2] = (at, size)
            if at == NO_BLOCK:
                copies.append((windows[row], 2 * position, total, tensor.data))
                total += size
    offset = memory.arena.allocate(total) if copies else NO_BLOCK
    for flat, index, start, data in copies:
        flat[index] = offset + start
        memory.view[offset + start : offset + start + len(data)] = data
    return Placed(offset, [tuple(flat) for flat in windows], [block for block in blocks if block])


def _block(memory: RequestMemory, request: InferRequest) -> Block | None:
    """The block of this memory that the request was received into, if it was."""
    lease = request.lease
    return lease if isinstance(lease, Block) and lease.memory is memory else None


def _in_place(memory: RequestMemory, tensor: Tensor) -> int:
    """The offset of a tensor's bytes in the arena; NO_BLOCK if they are elsewhere, or not aligned to their elements."""
    at = address(tensor.data) - memory.base
    if at < 0 or at + len(tensor.data) > memory.size or at % (itemsize(tensor.datatype) or 1):
        return NO_BLOCK
    return at
