"""Floats under `data`: every way of writing them, every way of rounding them."""

from __future__ import annotations

import math
import random
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyserver.core.json import JsonError, loads

PROPERTY = settings(max_examples=200, deadline=None, derandomize=True, database=None)
HEAD = b'{"datatype":"%b","data":['


def read(texts: list[str], datatype: str = "FP64", separator: str = ",") -> np.ndarray:
    body = HEAD % datatype.encode() + separator.join(texts).encode() + b"]}"
    return np.frombuffer(loads(body)["data"].buffer, {"FP64": np.float64, "FP32": np.float32}[datatype])


def check(texts: list[str], separator: str = ",") -> None:
    """As Python reads them; and once more, where all of them are in the middle of the text."""
    expected = np.array([float(text) for text in texts])
    padded = np.array([0.5] * 9 + [*expected] + [0.5] * 30)
    texts = ["0.5"] * 9 + texts + ["0.5"] * 30
    assert read(texts[9:-30], "FP64", separator).tobytes() == expected.tobytes()
    assert read(texts, "FP64", separator).tobytes() == padded.tobytes()
    with np.errstate(over="ignore"):
        assert read(texts, "FP32", separator).tobytes() == padded.astype(np.float32).tobytes()


def decimal(value: Fraction) -> str:
    """All digits of a fraction whose divisor is a power of two."""
    places = value.denominator.bit_length() - 1
    digits = str(abs(value.numerator) * 5**places).rjust(places + 1, "0")
    text = digits if not places else f"{digits[:-places]}.{digits[-places:]}"
    return text if value >= 0 else "-" + text


separators = st.sampled_from([",", ", ", " ,", ",\n", " , "])
doubles = st.floats(allow_nan=False, allow_infinity=False) | st.floats(width=32, allow_nan=False, allow_infinity=False)
plain = st.from_regex(r"-?(0|[1-9][0-9]{0,9})(\.0{0,6}[0-9]{1,22})?", fullmatch=True)
any_exponent = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,22})?[eE][+-]?0{0,2}[0-9]{1,2}", fullmatch=True)


@given(st.lists(doubles.map(repr) | plain | any_exponent, min_size=1, max_size=40), separators)
@example(["5e-324", "2.2250738585072011e-308", "2.2250738585072014e-308", "1.7976931348623157e308"], ",")
@example(["0.000123456789012345678", "0.0001234567890123456789", "0.00000000000000000000000000000000000001"], ", ")
@example(["9007199254740993", "9007199254740992.5", "18446744073709551615", "18446744073709551616", "0e999", "-0"], ",")
@PROPERTY
def test_as_python_reads_them(texts: list[str], separator: str) -> None:
    check(texts, separator)


@pytest.mark.parametrize("digits", ["1", "9007199254740993", "9999999999999999999", "10000000000000000001", "0.1"])
def test_every_power_of_ten(digits: str) -> None:
    check([f"{digits}e{power}" for power in range(-360, 289)])


def test_halfway_cases() -> None:
    """Exactly between two doubles, even one and odd one below it; and the least bit beside that."""
    rng = random.Random(3)
    texts = []
    for _ in range(400):
        significand, binary = rng.getrandbits(52) | 1 << 52, rng.randrange(-64, 12)
        tie = decimal(Fraction(2 * significand + 1) * Fraction(2) ** (binary - 1))
        last = tie + "0" if "." in tie else tie + ".0"
        texts += [tie, last[:-1] + "1", decimal(Fraction(significand) * Fraction(2) ** binary)]
        if tie[-1] == "5":
            texts.append(tie[:-1] + "4" + "9" * rng.randrange(1, 9))
    check(texts)
    check([each for each in texts if len(each) <= 20])
    short = [decimal(Fraction(2 * rng.getrandbits(53) + 1, 2**places)) for places in range(5) for _ in range(99)]
    assert min(map(len, short)) < 18
    check(short)


def test_numbers_that_floats_of_32_bits_are_between() -> None:
    """They are rounded twice, as Triton does it: the double may be a tie where the number isn't."""
    low = Fraction(1) + Fraction(1, 2**24)
    text = decimal(low + Fraction(1, 2**60))
    assert Fraction(text) > low
    assert read([text] * 40, "FP32").tolist() == [1.0] * 40
    assert read([decimal(low + Fraction(1, 2**50))] * 40, "FP32").tolist() == [1 + 2**-23] * 40


def test_subnormals() -> None:
    bits = [1, 2, 3, 2**51, 2**52 - 1, 2**52, 2**52 + 1]
    values = [struct.unpack("<d", struct.pack("<Q", each))[0] for each in bits]
    check([repr(value) for value in values])
    check([f"{value:.40e}" for value in values])
    singles = [math.ldexp(each, -149) for each in (0.5, 1, 1.5, 2, 2.5, 8388607, 8388607.5, 8388608)]
    check([repr(each) for each in singles])


WRONG = ["01", "-01.5", "1.", ".5", "-", "-.5", "1.5.2", "1-2", "--1", "+1", "1e", "1.5e+", "0x1", "1_0", "1.5f", "1 2"]


@pytest.mark.parametrize("wrong", [*WRONG, "12345678.", ",", "00"])
@pytest.mark.parametrize("separator", [",", ", "])
def test_what_is_no_number_is_found_anywhere(wrong: str, separator: str) -> None:
    for before in (0, 5, 40):
        for behind in (0, 3, 40):
            texts = ["-1.25"] * before + [wrong] + ["0.5"] * behind
            with pytest.raises(JsonError) as error:
                read(texts, "FP32", separator)
            assert error.value.kind == "syntax"
            start = len(HEAD % b"FP32") + before * len("-1.25" + separator)
            assert start <= error.value.offset <= start + len(wrong) + 1


def test_nothing_behind_the_text_is_read() -> None:
    whole = HEAD % b"FP32" + b"1.25," * 20 + b"1.25]}" + b"1.25," * 20
    end = whole.index(b"]}") + 2
    assert loads(memoryview(whole)[:end])["data"].count == 21
    for cut in range(end):
        with pytest.raises(JsonError):
            loads(memoryview(whole)[:cut])


def test_rows() -> None:
    values = np.arange(600).reshape(100, 3, 2) / 8
    body = b'{"shape":[1],"datatype":"FP64","data":%b}' % str(values.tolist()).encode()
    found = loads(body)["data"]
    assert (found.count, found.nested) == (600, True)
    assert found.buffer == values.tobytes()
