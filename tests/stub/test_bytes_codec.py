import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserver.stub import bytes_codec

compiled = pytest.importorskip("pyserver.stub._bytes", reason="not built: python setup.py build_ext --inplace")

ELEMENTS = st.lists(st.one_of(st.binary(max_size=20), st.text(max_size=10), st.integers(), st.none()), max_size=30)


class Angry:
    def __str__(self) -> str:
        raise RuntimeError("no")


@given(ELEMENTS)
def test_both_codecs_agree(elements: list[object]) -> None:
    packed = compiled.pack(elements)
    assert packed == bytes_codec.pack_python(elements)
    assert compiled.unpack(packed) == bytes_codec.unpack_python(packed)
    assert compiled.unpack(packed) == [e if isinstance(e, bytes) else str(e).encode() for e in elements]


@given(st.binary(max_size=60))
def test_both_refuse_the_same_bytes_in_the_same_words(data: bytes) -> None:
    try:
        expected = bytes_codec.unpack_python(data)
    except ValueError as error:
        with pytest.raises(ValueError, match="^incomplete string") as raised:
            compiled.unpack(data)
        assert str(raised.value) == str(error)
    else:
        assert compiled.unpack(data) == expected


def test_cut_at_every_byte() -> None:
    whole = compiled.pack([b"ab", b"", b"cde"])
    borders = {0, 6, 10, len(whole)}
    for end in range(len(whole) + 1):
        for unpack in (compiled.unpack, bytes_codec.unpack_python):
            if end in borders:
                unpack(whole[:end])
            else:
                with pytest.raises(ValueError, match="incomplete string"):
                    unpack(whole[:end])


def test_a_length_that_would_overflow() -> None:
    with pytest.raises(ValueError, match="expecting 4294967295 bytes at byte 4 of 5"):
        compiled.unpack(b"\xff\xff\xff\xff.")


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
        compiled.unpack(bytearray(4))


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
    with pytest.raises(ValueError, match="reshape"):
        bytes_codec.unpack(struct.pack("<I", 0), (2,))
