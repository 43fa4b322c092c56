from __future__ import annotations

import struct
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.core import batch, tensor
from pyserver.core.bytes import ElementsError, pack

PROPERTY = settings(max_examples=200, deadline=None, derandomize=True, database=None)


@given(st.lists(st.binary(max_size=30), max_size=6), st.integers(0, 8), st.integers(0, 200))
@PROPERTY
def test_gather_joins(buffers: list[bytes], offset: int, size: int) -> None:
    room = bytearray(b"." * size)
    joined = b"".join(buffers)
    if buffers and offset + len(joined) > size:
        with pytest.raises(ValueError, match="don't fit"):
            batch.gather(room, offset, buffers)
        assert len(room) == size
    else:
        assert batch.gather(room, offset, [memoryview(buffer) for buffer in buffers]) == len(joined)
        assert room == (b"." * offset + joined).ljust(size, b".")[:size]


def test_copy_into() -> None:
    room = np.zeros(4, np.float32)
    assert batch.copy_into(room, 4, np.array([1, 2], np.float32)) == 8
    assert room.tolist() == [0, 1, 2, 0]
    for offset in (-1, 9, 17, 2**63 - 1):
        with pytest.raises(ValueError, match="don't fit into 16"):
            batch.copy_into(room, offset, bytes(8))
    with pytest.raises(BufferError):
        batch.copy_into(b"readonly", 0, b"x")


def test_large_buffers() -> None:
    large = np.random.default_rng(1).bytes(1 << 20)
    room = bytearray(2 << 20)
    assert batch.gather(room, 0, [large, large]) == len(room)
    assert room == large + large


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 9))
@PROPERTY
def test_rows_are_split(rows: list[int], row_size: int) -> None:
    data = bytes(index % 256 for index in range(sum(rows) * row_size))
    views = batch.split_rows(data, row_size, rows)
    ends = [0, *accumulate(count * row_size for count in rows)]
    assert [bytes(view) for view in views] == [data[start:end] for start, end in pairwise(ends)]
    with pytest.raises(ValueError, match="don't fill"):
        batch.split_rows(data + b"x", row_size, rows)
    if data:
        with pytest.raises(ValueError, match="don't fill"):
            batch.split_rows(data[1:], row_size, rows)


@pytest.mark.parametrize(("row_size", "rows"), [(4, [2**62]), (4, [1, -1, 2]), (2**62, [4]), (4, [2**80]), (0, [1])])
def test_rows_that_are_not_there(row_size: int, rows: list[int]) -> None:
    with pytest.raises(ValueError, match="don't fill 8 bytes"):
        batch.split_rows(bytes(8), row_size, rows)


def test_split_rows_don_t_copy() -> None:
    data = np.zeros((4, 2), np.float32)
    _, second = batch.split_rows(data, 8, [1, 3])
    assert tensor.address(second) == tensor.address(data) + 8


@given(st.lists(st.lists(st.binary(max_size=9), max_size=4), max_size=5))
@PROPERTY
def test_elements_are_split(parts: list[list[bytes]]) -> None:
    data = b"".join(map(pack, parts))
    counts = [len(part) for part in parts]
    assert [bytes(view) for view in batch.split_elements(data, counts)] == [pack(part) for part in parts]
    with pytest.raises(ValueError, match="end at byte"):
        batch.split_elements(data + b"x", counts)
    with pytest.raises(ElementsError):
        batch.split_elements(data, [*counts, 1])


def test_elements_that_are_cut() -> None:
    data = pack([b"abc", b"de"])
    for cut in range(len(data)):
        with pytest.raises(ElementsError):
            batch.split_elements(data[:cut], [1, 1])
    with pytest.raises(ElementsError, match="length 4294967295"):
        batch.split_elements(struct.pack("<I", 2**32 - 1), [1])
    with pytest.raises(ValueError, match="count is -1"):
        batch.split_elements(data, [-1])
