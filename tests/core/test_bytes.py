from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.core import bytes as elements

PROPERTY = settings(max_examples=200, deadline=None, derandomize=True, database=None)
STRINGS = st.lists(st.binary(max_size=20), max_size=20)


def reference(values: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def reference_fault(data: bytes, count: int) -> tuple[Any, ...] | None:
    at = 0
    for element in range(count):
        if at == len(data):
            return "few", element, count, element
        if len(data) - at < 4:
            return "length", element, 4, len(data) - at
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        if size > len(data) - at:
            return "data", element, size, len(data) - at
        at += size
    if at == len(data):
        return None
    return ("length", count, 4, len(data) - at) if len(data) - at < 4 else ("many", count, count, count + 1)


@given(STRINGS)
@PROPERTY
def test_there_and_back(values: list[bytes]) -> None:
    packed = elements.pack(values)
    assert packed == reference(values)
    assert elements.packed_size(values) == len(packed)
    assert elements.unpack(packed, len(values)) == values
    assert elements.unpack(memoryview(bytearray(packed)), len(values)) == values
    elements.validate(packed, len(values))


@given(STRINGS, st.integers(0, 22), st.binary(max_size=6), st.integers(0, 500))
@PROPERTY
def test_what_is_not_that_many_elements(values: list[bytes], count: int, tail: bytes, cut: int) -> None:
    data = (reference(values) + tail)[:cut]
    expected = reference_fault(data, count)
    if expected is None:
        elements.validate(data, count)
        assert len(elements.unpack(data, count)) == count
        return
    for function in (elements.validate, elements.unpack):
        with pytest.raises(elements.ElementsError) as error:
            function(data, count)
        got = error.value
        assert (got.kind, got.element, got.expected, got.found) == expected


def test_messages() -> None:
    for data, count, text in [
        (reference([b"a", b"b"]), 3, "expected 3 string elements, got 2"),
        (reference([b"a", b"b"]), 1, "unexpected number of string elements 2, expecting 1"),
        (b"\1\0", 1, "incomplete string length indicator"),
        (b"\x64\0\0\0abcd", 1, "expecting string of length 100 but only 4 bytes available"),
        (b"\xff\xff\xff\xffabcd", 1, "expecting string of length 4294967295 but only 4 bytes available"),
    ]:
        with pytest.raises(elements.ElementsError, match=text):
            elements.validate(data, count)


@pytest.mark.parametrize("count", [2**62, 2**33])
def test_a_huge_count_takes_no_memory(count: int) -> None:
    with pytest.raises(elements.ElementsError, match="got 1"):
        elements.unpack(reference([b"a"]), count)


def test_a_negative_count() -> None:
    with pytest.raises(ValueError, match="count is -1"):
        elements.validate(b"", -1)


@given(st.lists(st.text(max_size=10), max_size=10))
@PROPERTY
def test_text_is_utf8(values: list[str]) -> None:
    expected = reference([value.encode() for value in values])
    assert elements.pack(values) == expected
    assert elements.pack(np.array(values, dtype=object)) == expected


def test_arrays() -> None:
    expected = reference([b"ab", b"", b"c"])
    assert elements.pack(np.array([b"ab", b"", b"c"])) == expected
    assert elements.pack(np.array(["ab", "", "c"])) == expected
    assert elements.pack(np.array(["ab", "", "c"], dtype=">U2")) == expected
    assert elements.pack(np.array([[b"ab", "x"], [b"", "y"], [b"c", "z"]], dtype=object)[:, 0]) == expected
    assert elements.pack(np.array([[b"1", b"2"], [b"3", b"4"]]).T) == reference([b"1", b"3", b"2", b"4"])
    assert elements.pack(np.array(b"one")) == reference([b"one"])
    assert elements.pack(np.empty((3, 0), dtype=object)) == b""


def test_other_objects_become_text() -> None:
    values = [1, 2.5, None, True, bytearray(b"\0\xff"), memoryview(b"m"), np.str_("s"), np.bytes_(b"b")]
    assert elements.pack(values) == reference([b"1", b"2.5", b"None", b"True", b"\0\xff", b"m", b"s", b"b"])
    assert elements.pack(value for value in (b"a", "b")) == reference([b"a", b"b"])


def test_what_can_not_be_packed() -> None:
    with pytest.raises(ValueError, match="dtype 'int64'"):
        elements.pack(np.arange(3))
    with pytest.raises(ValueError, match="surrogates not allowed"):
        elements.pack(["\ud800"])

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with pytest.raises(RuntimeError, match="no text"):
        elements.pack([Broken()])


def test_a_list_that_changes_while_it_is_packed() -> None:
    class Greedy:
        def __str__(self) -> str:
            values.clear()
            return "x"

    values: list[object] = [Greedy(), b"y" * 100, b"z"]
    assert elements.pack(values) == reference([b"x", b"y" * 100, b"z"])


def test_pack_into() -> None:
    room = bytearray(b"." * 12)
    assert elements.pack_into(room, 1, [b"ab", ""]) == 10
    assert room == b"." + reference([b"ab", b""]) + b"."
    for offset in (3, 13, -1, 2**62):
        with pytest.raises(ValueError, match="don't fit"):
            elements.pack_into(room, offset, [b"ab", ""])
    with pytest.raises(BufferError):
        elements.pack_into(b"readonly", 0, [])
