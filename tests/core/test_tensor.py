from __future__ import annotations

import ctypes
import math
import mmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.core import tensor

PROPERTY = settings(max_examples=200, deadline=None, derandomize=True, database=None)
MOST = 2**63 - 1

SIZES = {
    "BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8,
    "FP16": 2, "FP32": 4, "FP64": 8, "BYTES": 0, "BF16": 2,
}  # fmt: skip


def test_every_datatype_has_its_size() -> None:
    assert {name: tensor.itemsize(name) for name in tensor.DATATYPES} == SIZES


@pytest.mark.parametrize("name", ["", "INVALID", "fp32", "STRING", "FP32 ", None, 11])
def test_other_names_are_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="invalid datatype"):
        tensor.itemsize(name)


@given(st.lists(st.integers(0, 2**33), max_size=6))
@PROPERTY
def test_sizes_are_products(shape: list[int]) -> None:
    for datatype, size in SIZES.items():
        if size == 0:
            continue
        if math.prod(shape) * size > MOST:
            with pytest.raises(OverflowError):
                tensor.byte_size(datatype, shape)
        else:
            assert tensor.byte_size(datatype, tuple(shape)) == math.prod(shape) * size
            assert tensor.element_count(shape) == math.prod(shape)


def test_the_largest_counts() -> None:
    assert tensor.element_count([2**62]) == 2**62
    assert tensor.element_count([MOST]) == MOST
    assert tensor.element_count([2**62, 4, 0]) == 0
    assert tensor.element_count([]) == 1
    with pytest.raises(OverflowError, match="exceed maximum size of 9223372036854775807"):
        tensor.element_count([2**62, 2])
    with pytest.raises(OverflowError, match="exceed maximum size"):
        tensor.element_count([2**64])
    with pytest.raises(OverflowError, match="byte size overflow"):
        tensor.byte_size("INT16", [2**62])


@pytest.mark.parametrize("dimension", [-1, -(2**70), 1.0, "1", None, True])
def test_dimensions_are_natural_numbers(dimension: Any) -> None:
    with pytest.raises(ValueError, match=r"shape \[2, .*\] has dimension"):
        tensor.element_count([2, dimension])


def test_bytes_have_no_size_by_shape() -> None:
    with pytest.raises(ValueError, match="BYTES"):
        tensor.byte_size("BYTES", [1])


@pytest.mark.parametrize("datatype", [name for name in SIZES if name != "BF16"])
def test_dtypes_go_both_ways(datatype: str) -> None:
    dtype = tensor.numpy_dtype(datatype)
    assert datatype == "BYTES" or dtype.itemsize == SIZES[datatype]
    assert tensor.datatype_of(dtype) == datatype


def test_dtypes_that_share_a_datatype() -> None:
    assert tensor.numpy_dtype("BF16") == np.uint16
    assert tensor.datatype_of(np.dtype("S3")) == tensor.datatype_of(np.dtype("U3")) == "BYTES"


@pytest.mark.parametrize("dtype", [">f4", ">i8", "c8", "M8[s]", "V4"])
def test_dtypes_without_a_datatype(dtype: str) -> None:
    with pytest.raises(ValueError, match="has no V2 datatype"):
        tensor.datatype_of(np.dtype(dtype))


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda raw: np.frombuffer(raw, np.uint16)])
def test_as_array_is_a_view(make: Any) -> None:
    raw = make(np.arange(6, dtype=np.float32).tobytes())
    array = tensor.as_array("FP32", (2, 3), raw)
    assert array.dtype == np.float32
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert array.ctypes.data == tensor.address(raw)
    assert array.flags.writeable == isinstance(raw, bytearray)


@pytest.mark.parametrize("datatype", [name for name in SIZES if name != "BYTES"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 2)])
def test_as_array_takes_exactly_its_bytes(datatype: str, shape: tuple[int, ...]) -> None:
    size = math.prod(shape) * SIZES[datatype]
    assert tensor.as_array(datatype, shape, bytes(size)).shape == shape
    with pytest.raises(ValueError, match=f"has {size + 1} bytes, expected {size}"):
        tensor.as_array(datatype, shape, bytes(size + 1))


def test_addresses() -> None:
    block = bytearray(64)
    start = ctypes.addressof(ctypes.c_char.from_buffer(block))
    assert tensor.address(block) == start
    assert tensor.address(memoryview(block)[10:20]) == start + 10
    with mmap.mmap(-1, 4096) as mapped:
        assert tensor.address(memoryview(mapped)[128:]) == tensor.address(mapped) + 128


@given(st.lists(st.integers(0, 20), max_size=5), st.integers(0, 5))
@PROPERTY
def test_slices_follow_each_other(sizes: list[int], start: int) -> None:
    body = bytes(index % 251 for index in range(start + sum(sizes)))
    views = tensor.slices(body, start, sizes)
    assert [len(view) for view in views] == sizes
    assert b"".join(views) == body[start:]
    if sizes and sizes[-1]:
        with pytest.raises(tensor.SliceError) as error:
            tensor.slices(body[:-1], start, sizes)
        assert (error.value.index, error.value.missing) == (len(sizes) - 1, 1)
    with pytest.raises(tensor.SliceError) as error:
        tensor.slices(body + b"ab", start, sizes)
    assert (error.value.index, error.value.missing) == (len(sizes), -2)


def test_slices_don_t_copy() -> None:
    body = np.zeros((4, 8), np.float32)
    (first, second) = tensor.slices(body, 0, [64, 64])
    assert tensor.address(second) == tensor.address(body) + 64
    assert (first.format, first.ndim) == ("B", 1)


@pytest.mark.parametrize(("start", "sizes"), [(-1, []), (5, []), (0, [-1]), (0, [5, -1])])
def test_slices_outside_the_body(start: int, sizes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"outside|expected 0 or more|more bytes"):
        tensor.slices(b"1234", start, sizes)


def test_slices_of_huge_sizes() -> None:
    with pytest.raises(tensor.SliceError) as error:
        tensor.slices(b"1234", 2, [1, 2**200])
    assert (error.value.index, error.value.missing) == (1, 2**200 - 1)
