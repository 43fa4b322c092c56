"""JSON documents: what the standard library makes of them, held against `loads`."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.core.json import MAX_VALUES, JsonData, JsonError, loads
from tests.fuzz.references import json_value as reference

PROPERTY = settings(max_examples=300, deadline=None, derandomize=True, database=None)
TEXTS = st.text(max_size=12)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXTS.filter(lambda key: key != "data"), inner, max_size=4)
    ),
    max_leaves=20,
)
REQUEST = (
    b'{"inputs": [{"name": "INPUT\\u00300", "datatype":"FP32","shape":[1,16],"parameters":{"binary_data_size":64}}],'
    b'\r\n\t"outputs":[{"name":"\xc3\xa9\\ud83d\\ude00\\n","parameters":{"binary_data":true}}],"n":[null,false,-1.5e3]}'
)


def same(got: Any, expected: Any) -> bool:
    return type(got) is type(expected) and repr(got) == repr(expected)


def assert_agree(document: bytes) -> None:
    """Either both read the same in `document`, or both refuse it."""
    try:
        expected = reference(document)
    except ValueError:
        with pytest.raises(JsonError):
            loads(document)
    else:
        assert same(loads(document), expected)


@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t\r\n "]))
@PROPERTY
def test_any_document(value: Any, ascii_only: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert same(loads(text.encode()), value)
    assert same(loads(memoryview(b"x" + text.encode() + b"x")[1:-1]), value)


@given(VALUES, st.data())
@PROPERTY
def test_any_document_with_an_accident(value: Any, data: st.DataObject) -> None:
    document = bytearray(json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(document)))
        size = data.draw(st.integers(0, 2))
        document[at : at + size] = data.draw(
            st.sampled_from(b'[]{},:"\\ue+-.019 \n\x00\x1f\x7f\x80\xc3\xa9\xedatf'.split(b"|")) | st.binary(max_size=2)
        )
    assert_agree(bytes(document))


def test_cut_anywhere() -> None:
    assert same(loads(REQUEST), reference(REQUEST))
    for cut in range(len(REQUEST)):
        with pytest.raises(JsonError) as error:
            loads(REQUEST[:cut])
        assert error.value.kind == "syntax"
        assert error.value.offset <= cut


def test_with_any_one_byte_changed() -> None:
    for at in range(len(REQUEST)):
        for byte in b'"\\[]{},: 0-e.u\x00\x80\xff':
            assert_agree(REQUEST[:at] + bytes([byte]) + REQUEST[at + 1 :])


@given(st.binary(max_size=40))
@PROPERTY
def test_any_bytes_as_a_string(text: bytes) -> None:
    assert_agree(b'["' + text + b'"]')


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@given(NUMBERS | st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers(-(2**70), 2**70).map(str))
@settings(PROPERTY, max_examples=1000)
def test_any_number(text: str) -> None:
    try:
        expected = reference(text.encode())
    except ValueError:
        with pytest.raises(JsonError, match="Number too big"):
            loads(text.encode())
    else:
        assert same(loads(text.encode()), 0 if text == "-0" else expected)


@given(st.integers(0, 2**64 - 1) | st.integers(2**53, 2**54), st.integers(-330, 320))
@settings(PROPERTY, max_examples=1500)
def test_digits_and_exponents(digits: int, exponent: int) -> None:
    text = f"{digits}e{exponent}"
    if math.isinf(float(text)):
        with pytest.raises(JsonError, match="Number too big"):
            loads(text.encode())
    else:
        assert same(loads(text.encode()), float(text))


@given(st.integers(2**52, 2**53 - 1), st.integers(-60, 60), st.integers(-1, 1))
@settings(PROPERTY, max_examples=1000)
def test_ties(significand: int, exponent: int, beside: int) -> None:
    """Halfway between two doubles, and just beside."""
    numerator = (2 * significand + 1) * 2 ** (exponent + 60)
    text = f"{numerator * 5**61 * 10 + beside}e-62"
    assert same(loads(text.encode()), float(text))


@pytest.mark.parametrize(
    ("document", "reason", "offset"),
    [
        (b"", "The document is empty.", 0),
        (b" \n", "The document is empty.", 2),
        (b"{} x", "The document root must not be followed by other values.", 3),
        (b"{,}", "Missing a name for object member.", 1),
        (b'{"a":1,}', "Missing a name for object member.", 7),
        (b'{"a" 1}', "Missing a colon after a name of object member.", 5),
        (b'{"a":1 "b":2}', "Missing a comma or } after an object member.", 7),
        (b"[1 2]", "Missing a comma or ] after an array element.", 3),
        (b"[01]", "Missing a comma or ] after an array element.", 2),
        (b"[1,]", "Invalid value.", 3),
        (b"[nul]", "Invalid value.", 1),
        (b"[NaN]", "Invalid value.", 1),
        (b"[1.]", "Invalid value.", 3),
        (b"[-]", "Invalid value.", 2),
        (b"[1e+]", "Invalid value.", 4),
        (b"[+1]", "Invalid value.", 1),
        (b'["\\x"]', "Invalid escape character in string.", 2),
        (b'["\\u12g4"]', "Incorrect hex digit after \\u escape in string.", 4),
        (b'["\\ud800"]', "The surrogate pair in string is invalid.", 2),
        (b'["\\udc00\\ud800"]', "The surrogate pair in string is invalid.", 2),
        (b'["\\ud800\\u0041"]', "The surrogate pair in string is invalid.", 2),
        (b'["a\tb"]', "Invalid control character in string.", 3),
        (b'["\xed\xa0\x80"]', "Invalid encoding in string.", 2),
        (b'["abc\xff"]', "Invalid encoding in string.", 5),
        (b'["abc', "Missing a closing quotation mark in string.", 5),
        (b"[1e400]", "Number too big to be stored in double.", 1),
        (b"\xef\xbb\xbf{}", "Invalid value.", 0),
    ],
)
def test_errors_say_where(document: bytes, reason: str, offset: int) -> None:
    with pytest.raises(JsonError) as error:
        loads(document)
    assert (error.value.reason, error.value.offset) == (reason, offset)
    assert str(error.value).startswith(f"{reason} at {offset}, got ")


def test_errors_show_what_is_there() -> None:
    for document, got in [(b"[1 secret]", "'secret'"), (b"[1", "the end"), (b"[1}", "'}'"), (b"\xff", "'\\\\xff'")]:
        with pytest.raises(JsonError) as error:
            loads(document)
        assert error.value.got == got
        assert str(error.value).endswith(f"got {got}")
    with pytest.raises(JsonError) as error:
        loads(b"[1 " + b"x" * 100)
    assert error.value.got == repr("x" * 24)


def test_a_key_twice() -> None:
    with pytest.raises(JsonError) as error:
        loads(b'{"a":1,"b":2,"\\u0061":3}')
    assert error.value.kind == "duplicate"


def test_depth() -> None:
    assert loads(b"[" * 100 + b"]" * 100)
    assert loads(b'{"":' * 100 + b"1" + b"}" * 100)
    for opening in (b"[", b'{"":', b'[{"":', b'{"data":' + b"[" * 100):
        with pytest.raises(JsonError, match=r"JSON nesting depth exceeds maximum allowed limit \(100\)") as error:
            loads(opening * 100_000)
        assert error.value.kind == "depth"
    with pytest.raises(JsonError, match="nesting depth"):
        loads(b'{"datatype":"FP32","data":' + b"[" * 1_000_000)
    assert loads(b"[[1]]", 100, 2) == [[1]]
    with pytest.raises(JsonError, match=r"limit \(1\)"):
        loads(b"[[1]]", 100, 1)
    with pytest.raises(ValueError, match="max_depth is 1000000, expected 0 to 1000"):
        loads(b"[]", 100, 1_000_000)
    assert loads(b"[" * 1000 + b"]" * 1000, 0, 1000)


def test_few_values_but_much_data() -> None:
    assert len(loads(b"[" + b"0," * (MAX_VALUES - 2) + b"0]")) == MAX_VALUES - 1
    with pytest.raises(JsonError, match=f"more than {MAX_VALUES} values"):
        loads(b"[" + b"0," * MAX_VALUES + b"0]")
    many = loads(b'{"datatype":"UINT8","data":[' + b"0," * MAX_VALUES + b"0]}")
    assert many["data"].count == MAX_VALUES + 1


def test_long_numbers() -> None:
    assert loads(b"0." + b"1" * 4094) == 1 / 9
    with pytest.raises(JsonError, match="number of more than 4096 characters"):
        loads(b"0." + b"1" * 4095)
    with pytest.raises(JsonError, match="Number too big"):
        loads(b"1" * 400)
    assert loads(b"1e-99999999999999999999") == 0.0
    with pytest.raises(JsonError, match="Number too big"):
        loads(b"1e99999999999999999999")


def test_scalar_data_stays_what_it_is() -> None:
    assert loads(b'{"data": 5, "parameters": {"data": "x"}}') == {"data": 5, "parameters": {"data": "x"}}
    assert type(loads(b'{"data":[]}')["data"]) is JsonData


def test_strings_of_many_lengths() -> None:
    """Across the borders of the words in which strings are searched, and of the cache of short ones."""
    for size in range(70):
        for text in (
            "a" * size,
            "a" * size + "\u00e9",
            "\u00e9" + "a" * size,
            "a" * size + '"',
            "a" * size + "\U0001f600b",
        ):
            for _ in range(2):
                assert loads(json.dumps(text, ensure_ascii=False).encode()) == text
                assert loads(json.dumps(text).encode()) == text
