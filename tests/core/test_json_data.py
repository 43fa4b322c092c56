"""The arrays under `data`, and tensors back to JSON."""

from __future__ import annotations

import json
import math
import struct
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.core import json as core
from pyserver.core.bytes import pack, unpack
from pyserver.core.json import JsonData, JsonError, dumps_array, loads
from pyserver.core.tensor import as_array, itemsize, numpy_dtype

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True, database=None)
INTEGERS = {
    name: np.iinfo(name.lower()) for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
}
FLOATS = ("FP16", "FP32", "FP64", "BF16")


def document(datatype: str, data: bytes, first: bool = True) -> bytes:
    head = b'"datatype":"%b"' % datatype.encode()
    return b'{"name":"x",%b,"data":%b}' % (head, data) if first else b'{"name":"x","data":%b,%b}' % (data, head)


def read(datatype: str, data: bytes, first: bool = True) -> JsonData:
    found = loads(document(datatype, data, first))["data"]
    assert type(found) is JsonData
    return found


def refused(datatype: str, data: bytes) -> JsonError:
    with pytest.raises(JsonError) as late:
        read(datatype, data, first=False)
    with pytest.raises(JsonError) as early:
        read(datatype, data)
    assert (early.value.kind, early.value.reason) == (late.value.kind, late.value.reason)
    return early.value


def brain(value: float) -> int:
    """The BF16 nearest to `value`, by comparing with both neighbours."""
    if math.isnan(value):
        return 0x7FC0
    sign, value = (0x8000, -value) if math.copysign(1, value) < 0 else (0, value)
    if math.isinf(value):
        return sign | 0x7F80

    def exact(bits: int) -> Fraction:
        # As if there were one more exponent: what infinity's bits would mean.
        return Fraction(2) ** 128 if bits == 0x7F80 else Fraction(struct.unpack("<f", struct.pack("<I", bits << 16))[0])

    low, high = 0, 0x7F80
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if exact(middle) <= Fraction(value) else (low, middle)
    below, above = Fraction(value) - exact(low), exact(high) - Fraction(value)
    return sign | (high if above < below or (above == below and high % 2 == 0) else low)


def raw(datatype: str, values: list[Any]) -> bytes:
    """The plain reference: raw bytes of Python numbers."""
    if datatype == "BYTES":
        return pack(values)
    if datatype == "BF16":
        return np.array([brain(float(value)) for value in values], np.uint16).tobytes()
    with np.errstate(over="ignore"):
        if datatype in FLOATS:
            return np.array([float(value) for value in values], np.float64).astype(numpy_dtype(datatype)).tobytes()
    return np.array(values, numpy_dtype(datatype)).tobytes()


def nested(elements: list[str], draw: Any) -> str:
    """`elements` in arrays in arrays, anyhow."""
    parts = list(elements)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(parts)))
        end = draw(st.integers(start, len(parts)))
        parts[start:end] = ["[" + ", ".join(parts[start:end]) + "]"]
    return "[" + " ,\n".join(parts) + "]"


def values_of(datatype: str) -> st.SearchStrategy[Any]:
    if datatype == "BYTES":
        return st.text(max_size=12)
    if datatype == "BOOL":
        return st.booleans()
    if datatype in INTEGERS:
        return st.integers(int(INTEGERS[datatype].min), int(INTEGERS[datatype].max))
    return st.floats() | st.integers(-(2**70), 2**70)


@pytest.mark.parametrize("datatype", [*INTEGERS, *FLOATS, "BOOL", "BYTES"])
@given(st.data())
@PROPERTY
def test_any_nesting_of_any_elements(datatype: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(values_of(datatype), max_size=12))
    text = nested([json.dumps(value, ensure_ascii=data.draw(st.booleans())) for value in values], data.draw)
    found = read(datatype, text.encode(), data.draw(st.booleans()))
    assert found.datatype == datatype
    assert found.count == len(values)
    assert same_floats(datatype, found.buffer, raw(datatype, values))


def same_floats(datatype: str, got: bytes, expected: bytes) -> bool:
    """Bit for bit, but for which NaN it is."""
    if datatype not in ("FP16", "FP32", "FP64"):
        return got == expected
    first, second = (np.frombuffer(each, numpy_dtype(datatype)).copy() for each in (got, expected))
    first[np.isnan(first)] = second[np.isnan(second)] = np.nan
    return first.tobytes() == second.tobytes()


DECIMALS = st.from_regex(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@pytest.mark.parametrize("datatype", FLOATS)
@given(st.lists(DECIMALS, min_size=1, max_size=20))
@PROPERTY
def test_floats_are_rounded(datatype: str, texts: list[str]) -> None:
    assert read(datatype, f"[{','.join(texts)}]".encode()).buffer == raw(datatype, [float(text) for text in texts])


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_every_sixteen_bit_float_and_every_tie(datatype: str) -> None:
    bits = np.arange(0x7C00 if datatype == "FP16" else 0x7F80, dtype=np.uint16)
    values = as_doubles(datatype, bits.tobytes())
    assert read(datatype, json.dumps(values.tolist()).encode()).buffer == bits.tobytes()
    ties = (values[:-1] + values[1:]) / 2
    even = bits[:-1] + (bits[:-1] & 1)
    assert read(datatype, json.dumps(ties.tolist()).encode()).buffer == even.tobytes()
    above = np.nextafter(ties, np.inf)
    assert read(datatype, json.dumps(above.tolist()).encode()).buffer == bits[1:].tobytes()


def as_doubles(datatype: str, data: bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
    with np.errstate(invalid="ignore"):
        if datatype == "BF16":
            return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return np.frombuffer(data, numpy_dtype(datatype)).astype(np.float64)


def test_special_floats() -> None:
    found = np.frombuffer(read("FP32", b"[NaN, Infinity, -Infinity, 1e40, -1e40, -0, -0.0, 1e-60]").buffer, np.float32)
    assert math.isnan(found[0])
    assert found[1:].tolist() == [math.inf, -math.inf, math.inf, -math.inf, 0, 0, 0]
    assert np.signbit(found).tolist() == [False, False, True, False, True, True, True, False]
    assert refused("FP64", b"[1e400]").kind == "range"
    for word in (b"nan", b"Inf", b"-NaN", b"+Infinity", b"-Inf", b"-Infinit"):
        assert refused("FP32", b"[" + word + b"]").kind == "syntax"


@pytest.mark.parametrize("datatype", INTEGERS)
def test_the_ends_of_integers(datatype: str) -> None:
    low, high = int(INTEGERS[datatype].min), int(INTEGERS[datatype].max)
    assert read(datatype, f"[{low},{high},-0]".encode()).buffer == raw(datatype, [low, high, 0])
    for value in (high + 1, 2**64, 10**19, 2 * 10**19, 99999999999999999999, 10**30):
        if value > high:
            assert refused(datatype, f"[{value}]".encode()).kind == "range"
    for value in (low - 1, -(2**64), -(10**19), -(10**30)):
        assert refused(datatype, f"[{value}]".encode()).kind == ("type" if low == 0 else "range")


OTHERS = [b"1", b"1.5", b"1e2", b"true", b"null", b'"x"', b"{}", b"NaN"]
TAKEN = {
    "BOOL": {b"true"},
    "BYTES": {b'"x"'},
    "FP32": {b"1", b"1.5", b"1e2", b"NaN"},
    "BF16": {b"1", b"1.5", b"1e2", b"NaN"},
    "INT8": {b"1"},
    "UINT64": {b"1"},
}
WORDS = {
    "BOOL": "attempt to access JSON non-boolean as boolean",
    "BYTES": "attempt to access JSON non-string as string",
    "FP32": "attempt to access JSON non-number as double",
    "BF16": "attempt to access JSON non-number as double",
    "INT8": "attempt to access JSON non-signed-integer as signed-integer",
    "UINT64": "attempt to access JSON non-unsigned-integer as unsigned-integer",
}


@pytest.mark.parametrize("datatype", TAKEN)
@pytest.mark.parametrize("element", OTHERS)
def test_elements_of_another_type(datatype: str, element: bytes) -> None:
    if element in TAKEN[datatype]:
        assert read(datatype, b"[[%b]]" % element).count == 1
        return
    with pytest.raises(JsonError) as error:
        read(datatype, b"[[], [%b]]" % element)
    assert (error.value.kind, error.value.reason) == ("type", WORDS[datatype])
    assert error.value.offset == len(document(datatype, b"[[], [")) - 1
    assert error.value.name == "x"


def test_a_datatype_that_never_comes() -> None:
    for text in (b'{"data":[1,[2,"x"],null]}', b'{"data":[1,[2,"x"],null],"datatype":"FP33"}'):
        found = loads(text)["data"]
        assert (found.datatype, found.count, found.buffer) == ("", 0, b"")
        with pytest.raises(JsonError, match="non-signed-integer") as error:
            found.scan("INT32")
        assert error.value.offset == 14
    found = loads(b'[0, {"data":[[1,2],[3]]}]')[1]["data"]
    with pytest.raises(ValueError, match="can't be read as 'FP33'"):
        found.scan("FP33")
    found.scan("INT16")
    assert (found.datatype, found.count, found.buffer) == ("INT16", 3, b"\1\0\2\0\3\0")
    with pytest.raises(ValueError, match="datatype 'INT16' can't be read as 'INT16'"):
        found.scan("INT16")


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BOOL", "BYTES", "FP33"])
def test_cut_anywhere(datatype: str) -> None:
    data = {"BOOL": b"[[true],[false, [true]]]", "BYTES": b'["a\\n", ["\\ud83d\\ude00\xc3\xa9"]]'}
    for first in (True, False):
        text = document(datatype, data.get(datatype, b"[-12, [345], [], [[6]]]"), first)
        assert type(loads(text)["data"]) is JsonData
        for cut in range(len(text)):
            with pytest.raises(JsonError):
                loads(text[:cut])


@pytest.mark.parametrize(
    "data", [b"[1,]", b"[,1]", b"[1 2]", b"[1}", b"[[1]", b"[1]]", b"[[1],,[2]]", b"[[]1]", b"[[],]", b"[ ,]"]
)
def test_commas_and_brackets(data: bytes) -> None:
    assert refused("FP32", data).kind == "syntax"
    with pytest.raises(JsonError):
        loads(b'{"data":%b}' % data)


@given(st.data())
@PROPERTY
def test_the_shape_is_only_a_hint(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(-1, 2**63), max_size=3) | st.just("no shape") | st.just([None]) | st.just(7))
    values = data.draw(st.lists(st.integers(-5, 5), max_size=40))
    text = json.dumps({"shape": shape, "datatype": "INT32", "data": values})
    assert loads(text.encode())["data"].buffer == raw("INT32", values)


def test_no_more_bytes_than_allowed() -> None:
    for datatype, data in (("FP32", b"1,2,3"), ("INT16", b"1,2,3,4,5,6"), ("BYTES", b'"abcdef","g"')):
        text = document(datatype, b"[" + data + b"]")
        size = len(loads(text)["data"].buffer)
        assert len(loads(text, size)["data"].buffer) == size
        with pytest.raises(JsonError, match=f"maximum allowed {size - 1} bytes") as error:
            loads(text, size - 1)
        assert error.value.kind == "limit"
    with pytest.raises(JsonError, match="maximum allowed 1000 bytes"):
        loads(document("FP64", b"[" + b"0," * 1_000_000 + b"0]"), 1000)


def test_nested_arrays_in_a_deep_document() -> None:
    inner = b"[" * 97 + b"1" + b"]" * 97
    text = b'{"inputs":[{"datatype":"UINT8","data":%b}]}'
    assert loads(text % inner)["inputs"][0]["data"].buffer == b"\1"
    with pytest.raises(JsonError, match="nesting depth"):
        loads(text % (b"[" + inner + b"]"))
    late = loads(b'{"inputs":[{"data":%b}]}' % inner)["inputs"][0]["data"]
    late.scan("UINT8")
    assert late.buffer == b"\1"


# Writing


@pytest.mark.parametrize("datatype", [*INTEGERS, *FLOATS, "BOOL"])
@given(st.data())
@PROPERTY
def test_written_and_read_again(datatype: str, data: st.DataObject) -> None:
    size = itemsize(datatype)
    count = data.draw(st.integers(0, 8))
    buffer = data.draw(st.binary(min_size=count * size, max_size=count * size))
    if datatype == "BOOL":
        buffer = bytes(byte & 1 for byte in buffer)
    text = dumps_array(datatype, memoryview(b"x" + buffer)[1:], count)
    values = json.loads(text)
    assert len(values) == count
    again = read(datatype, text).buffer
    if datatype in FLOATS:
        expected = as_doubles(datatype, buffer)
        assert shortest(text) == shortest(json.dumps(expected.tolist(), separators=(",", ":")).encode())
        assert np.array_equal(np.array(values, float), expected, equal_nan=True)
        if np.isnan(expected).any():
            return
    else:
        assert values == as_array(datatype, (count,), buffer).tolist()
    assert again == buffer


def shortest(text: bytes) -> list[str]:
    """The digits of each number, without the zeros that only say where the point is."""
    return [number.split(b"e")[0].replace(b".", b"").strip(b"-0").decode() for number in text[1:-1].split(b",")]


def test_floats_as_triton_writes_them() -> None:
    values = np.array([1, 0.1, -0.0, 1e10, np.nan, -np.inf, np.inf, 16777216], np.float32)
    assert dumps_array("FP32", values, 8) == (
        b"[1.0,0.10000000149011612,-0.0,10000000000.0,NaN,-Infinity,Infinity,16777216.0]"
    )
    tricky = np.array([7.038531e-26], np.float32)
    assert np.float32(json.loads(dumps_array("FP32", tricky, 1))[0]) == tricky[0]


def test_bools_of_any_byte() -> None:
    assert dumps_array("BOOL", b"\0\1\2\xff", 4) == b"[false,true,true,true]"


def test_other_sizes_are_refused() -> None:
    for datatype in ("FP32", "BOOL", "INT64", "BYTES"):
        with pytest.raises(ValueError):  # noqa: PT011
            dumps_array(datatype, b"\0\0\0", 2)
    with pytest.raises(ValueError, match="invalid datatype"):
        dumps_array("FP33", b"", 0)
    with pytest.raises(ValueError, match=r"negative|expected 0 or more"):
        dumps_array("FP32", b"", -1)


@given(st.lists(st.text(max_size=12), max_size=8))
@PROPERTY
def test_strings_are_written(values: list[str]) -> None:
    text = dumps_array("BYTES", pack(values), len(values))
    assert json.loads(text) == values
    assert unpack(read("BYTES", text).buffer, len(values)) == [value.encode() for value in values]


def test_strings_that_are_not_utf8() -> None:
    with pytest.raises(ValueError, match=r"element 1 isn't UTF-8 .*binary"):
        dumps_array("BYTES", pack([b"ok", b"\xff\xfe"]), 2)


def test_names_are_exported() -> None:
    assert core.JsonError is JsonError


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_few_floats_are_written_as_many_are(datatype: str) -> None:
    size = {"FP64": 8, "FP32": 4}.get(datatype, 2)
    raw = np.random.default_rng(5).bytes(64 * size)
    whole = dumps_array(datatype, raw, 64)
    single = [dumps_array(datatype, raw[at : at + size], 1)[1:-1] for at in range(0, len(raw), size)]
    assert whole == b"[" + b",".join(single) + b"]"
    assert dumps_array(datatype, b"", 0) == b"[]"


def test_where_an_array_stands() -> None:
    for text in ('{"datatype":"UINT8", "data": [1, [2]] }', '{"data": [1,2] ,"datatype":"UINT8"}', '{"data":[true]}'):
        made = loads(text.encode())["data"]
        assert text[made.start : made.end] == text[text.index("[") : text.rindex("]") + 1]
