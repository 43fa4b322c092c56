import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserver.stub import bytes_codec

compiled = pytest.importorskip("pyserver.stub._bytes", reason="not built: python setup.py build_ext --inplace")
BOTH = [bytes_codec.unpack_compiled, bytes_codec.unpack_python]
Unpack = Callable[..., "np.ndarray[Any, Any]"]

ELEMENTS = st.lists(st.one_of(st.binary(max_size=20), st.text(max_size=10), st.integers(), st.none()), max_size=30)


class Angry:
    def __str__(self) -> str:
        raise RuntimeError("no")


@given(ELEMENTS)
def test_both_codecs_agree(elements: list[object]) -> None:
    packed = compiled.pack(elements)
    assert packed == bytes_codec.pack_python(elements)
    expected = [e if isinstance(e, bytes) else str(e).encode() for e in elements]
    for unpack in BOTH:
        for count in (-1, len(elements)):
            assert unpack(packed, count).tolist() == expected


def outcome(unpack: Unpack, data: bytes, count: int) -> list[bytes] | str:
    try:
        return unpack(data, count).tolist()
    except ValueError as error:
        return str(error)


@given(st.binary(max_size=60), st.integers(-1, 3))
def test_both_refuse_the_same_bytes_in_the_same_words(data: bytes, count: int) -> None:
    expected, got = (outcome(unpack, data, count) for unpack in BOTH)
    assert got == expected


@pytest.mark.parametrize("unpack", BOTH)
def test_cut_at_every_byte(unpack: Unpack) -> None:
    whole = compiled.pack([b"ab", b"", b"cde"])
    borders = {0: 0, 6: 1, 10: 2, len(whole): 3}
    for end in range(len(whole) + 1):
        if end in borders:
            assert unpack(whole[:end]).shape == (borders[end],)
        else:
            with pytest.raises(ValueError, match="incomplete string"):
                unpack(whole[:end])


@pytest.mark.parametrize("unpack", BOTH)
def test_a_length_that_would_overflow(unpack: Unpack) -> None:
    with pytest.raises(ValueError, match="expecting 4294967295 bytes at byte 4 of 5"):
        unpack(b"\xff\xff\xff\xff.")


@pytest.mark.parametrize("pack", [compiled.pack, bytes_codec.pack_python])
def test_an_element_without_text(pack) -> None:
    with pytest.raises(RuntimeError, match="no"):
        pack([b"fine", Angry()])
    with pytest.raises(UnicodeEncodeError):
        pack(["\ud800"])


def test_an_element_that_empties_the_list() -> None:
    class Thief:
        def __str__(self) -> str:
            elements.clear()
            return "thief"

    elements: list[object] = [Thief(), b"gone"]
    with pytest.raises(IndexError):
        compiled.pack(elements)


def test_types() -> None:
    with pytest.raises(TypeError):
        compiled.pack((b"a",))
    with pytest.raises(TypeError):
        bytes_codec.unpack_compiled(bytearray(4))  # type: ignore[arg-type]


def test_references_are_counted() -> None:
    element = object()
    text = str(element).encode()
    before = sys.getrefcount(None), sys.getrefcount(text)
    for _ in range(3):
        packed = compiled.pack([text] * 1000)
        array, reference = (unpack(packed, 1000) for unpack in BOTH)
        assert sys.getrefcount(array[7]) == sys.getrefcount(reference[7])
        del array, reference
    after = sys.getrefcount(None), sys.getrefcount(text)
    assert abs(after[0] - before[0]) < 500
    assert after[1] == before[1]


@pytest.mark.parametrize(
    "array",
    [
        np.array([[b"a\0", "é"], [3, None]], dtype=object),
        np.array(["é", "long enough"]),
        np.array([b"a", b"bcd"]),
        np.array(b"scalar", dtype=object),
        np.zeros((0, 3), dtype=object),
    ],
    ids=["object", "U", "S", "0-d", "empty"],
)
def test_arrays(array) -> None:
    unpacked = bytes_codec.unpack(bytes_codec.pack(array), array.shape)
    assert unpacked.dtype == object
    expected = [e if isinstance(e, bytes) else str(e).encode() for e in array.ravel().tolist()]
    assert unpacked.ravel().tolist() == expected
    assert unpacked.shape == array.shape


def test_the_number_of_elements_is_checked() -> None:
    with pytest.raises(ValueError, match="expected 2 string elements, got 1"):
        bytes_codec.unpack(struct.pack("<I", 0), (2,))
