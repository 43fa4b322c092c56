"""Documents of a form that was seen before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.core.form import JsonForm
from pyserver.core.json import loads

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True, database=None)
NO_LIMIT = 2**63 - 1


def document(first: Any, second: Any, id: str = "x") -> bytes:
    inputs = [{"datatype": "FP32", "data": first}, {"data": second, "datatype": "BYTES"}]
    return json.dumps({"id": id, "inputs": inputs}, ensure_ascii=False).encode()


def form_of(body: bytes) -> JsonForm:
    return JsonForm(body, arrays_of(body))


def arrays_of(body: bytes) -> list[Any]:
    return [each["data"] for each in loads(body)["inputs"]]


@given(st.lists(st.floats(allow_nan=False) | st.integers(-9, 9), max_size=5), st.lists(st.text(), max_size=3))
@PROPERTY
def test_elements_are_those_that_loads_finds(numbers: list[float], texts: list[str]) -> None:
    body = document(numbers, texts)
    form = form_of(document([0] * len(numbers), [""] * len(texts)))
    for each in (body, bytearray(body), memoryview(b"[" + body)[1:]):
        assert form.fill(each, NO_LIMIT) == [array.buffer for array in arrays_of(body)]


def test_other_documents_are_none_of_its_own() -> None:
    form = form_of(document([1, 2], ["a"]))
    assert form.fill(document([3, 4], ["bcd"]), NO_LIMIT) is not None
    others = (([1], ["a"]), ([1, 2, 3], ["a"]), ([[1, 2]], ["a"]), ([1, 2], []), ([1, "a"], ["a"]), ([1, 2], [1]))
    for first, second in others:
        assert form.fill(document(first, second), NO_LIMIT) is None
    assert form.fill(document([1, 2], ["a"], id="y"), NO_LIMIT) is None
    whole = document([1, 2], ["a"])
    assert form.fill(whole + b" ", NO_LIMIT) is None
    for cut in range(len(whole)):
        assert form.fill(whole[:cut], NO_LIMIT) is None


def test_no_more_bytes_than_allowed() -> None:
    body = document([1, 2, 3], ["a"])
    form = form_of(body)
    assert form.fill(body, 12) is not None
    assert form.fill(body, 11) is None


@pytest.mark.parametrize("body", [document([[1]], ["a"]), b'{"inputs":[{"data":[1]}]}'])
def test_arrays_that_have_no_form(body: bytes) -> None:
    with pytest.raises(ValueError, match="flat elements of a known datatype"):
        form_of(body)
