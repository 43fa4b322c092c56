from __future__ import annotations

import math
from typing import Any

import pytest

from pyserver.cli.infer.tensors import DTYPES, flat, of_bytes, to_bytes


@pytest.mark.parametrize("datatype", DTYPES)
def test_there_and_back(datatype: str) -> None:
    data = [True, False] if datatype == "BOOL" else [0, 1, 100]
    raw = to_bytes(datatype, data)
    assert of_bytes(datatype, raw) == data


def test_texts() -> None:
    raw = to_bytes("BYTES", ["a", "", "äö"])
    assert raw == b"\1\0\0\0a\0\0\0\0\4\0\0\0" + "äö".encode()
    assert of_bytes("BYTES", raw) == ["a", "", "äö"]
    assert of_bytes("BYTES", b"\1\0\0\0\xff") == ["\ufffd"]


def test_what_is_no_finite_number_is_null() -> None:
    raw = to_bytes("FP32", [1.5, None, math.inf])
    assert of_bytes("FP32", raw) == [1.5, None, None]
    assert of_bytes("BF16", b"\xc0\x3f\x80\x7f") == [1.5, None]


@pytest.mark.parametrize(
    ("data", "expected"), [([1, [2, [3]]], [1, 2, 3]), ("one", ["one"]), ([], []), ([[], [1]], [1]), (5, [5])]
)
def test_nested_data(data: Any, expected: list[Any]) -> None:
    assert flat(data) == expected


@pytest.mark.parametrize(
    ("datatype", "data", "said"),
    [
        ("INT8", [300], "INT8 data: "),
        ("INT32", ["x"], "INT32 data: "),
        ("INT64", [None], "INT64 data: "),
        ("BYTES", [1], "BYTES data holds 1, expected texts"),
        ("FLOAT", [1], "datatype 'FLOAT' can't be sent"),
    ],
)
def test_data_of_another_type(datatype: str, data: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_bytes(datatype, data)
