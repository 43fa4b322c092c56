"""Requests that are all JSON: what stands around their elements is parsed once, and changes nothing."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.errors import ServerError
from pyserver.protocol import rest_request
from pyserver.protocol.rest_infer import decode
from pyserver.types import InferRequest

numbers = st.lists(st.integers(0, 255) | st.just(1.5), min_size=1, max_size=5)
inputs = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["A", "B", '"data":']),
        "datatype": st.sampled_from(["FP32", "UINT8"]),
        "shape": st.sampled_from([[1], [1, 2], [3], [5, 1]]),
        "data": numbers | st.just("none"),
    },
    optional={"parameters": st.sampled_from([{}, {"data": [1, 2]}, {"binary_data_size": 4}])},
)
documents = st.fixed_dictionaries(
    {"inputs": st.lists(inputs, max_size=3) | st.just({})},
    optional={
        "id": st.sampled_from(["", "x", 'q"', "ä", 7]),
        "parameters": st.sampled_from([{"k": 1}, {"priority": 2}]),
        "outputs": st.just([{"name": "O"}]),
    },
)


def forget() -> None:
    rest_request._forms.clear()
    rest_request._latest.clear()


def outcome(body: bytes) -> InferRequest | str:
    try:
        return decode(body, None, "m")
    except ServerError as error:
        return error.message


@given(documents, st.permutations(["id", "inputs", "parameters", "outputs"]))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_what_was_seen_before_is_read_as_if_it_were_new(document: dict[str, Any], order: list[str]) -> None:
    body = json.dumps({key: document[key] for key in order if key in document}).encode()
    known = outcome(body), outcome(body), outcome(body)
    forget()
    assert known == (outcome(body),) * 3


def body_of(data: Any, **more: Any) -> bytes:
    return json.dumps({**more, "inputs": [{"name": "x", "datatype": "UINT8", "shape": [1, 2], "data": data}]}).encode()


def test_a_form_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decode(body_of([1, 2], id="one"), None, "m")
    monkeypatch.setattr(rest_request, "_header", None)
    for data, id in (([3, 4], "two"), ([[5, 6]], "")):
        request = decode(body_of(data, id=id) if id else body_of(data), None, "n")
        assert (request.model_name, request.id) == ("n", id)
        (tensor,) = request.inputs
        assert (tensor.name, tensor.datatype, tensor.shape) == ("x", "UINT8", (1, 2))
        assert list(tensor.data) == [number for row in data for number in (row if isinstance(row, list) else [row])]


def test_the_latest_form_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        decode(body_of([1, 2]), None, "latest")
    monkeypatch.setattr(rest_request.rest_json, "loads", None)
    for body in (body_of([3, 4]), memoryview(body_of([255, 0]))):
        request = decode(body, None, "latest")
        (tensor,) = request.inputs
        assert (tensor.name, tensor.datatype, tensor.shape) == ("x", "UINT8", (1, 2))
        assert list(tensor.data) == json.loads(bytes(body))["inputs"][0]["data"]
        assert (request.model_name, request.id, request.parameters) == ("latest", "", {})
    monkeypatch.undo()
    assert decode(body_of([3, 4], id="x"), None, "latest").id == "x"


@pytest.mark.parametrize("elements", [[1, 2], [[1, 2]]])
def test_whatever_differs_from_the_latest_form_is_read(elements: Any) -> None:
    body = body_of(elements)
    for at in range(len(body)):
        for byte in (b"", b" ", b"[", b"]", b'"', b"0", b",", b"}", b"x"):
            other = body[:at] + byte + body[at + 1 :]
            forget()
            cold = outcome(other)
            for _ in range(2):
                decode(body, None, "m")
            assert outcome(other) == cold


def test_what_is_allowed_counts_for_the_latest_form() -> None:
    for _ in range(3):
        decode(body_of([1, 2]), None, "m")
    with pytest.raises(ServerError, match="nesting depth"):
        decode(body_of([1, 2]), None, "m", max_json_depth=3)


def test_another_number_of_elements_is_still_refused() -> None:
    for _ in range(3):
        decode(body_of([1, 2]), None, "m")
    with pytest.raises(ServerError, match="got 3 elements"):
        decode(body_of([1, 2, 3]), None, "m")


def test_forms_are_bounded() -> None:
    for number in range(rest_request._MEMORY_ENTRIES + 10):
        decode(body_of([1, 2], parameters={"k": number}), None, "m")
        decode(body_of([1, 2]), None, f"m{number}")
    assert len(rest_request._forms) <= rest_request._MEMORY_ENTRIES
    assert 0 < len(rest_request._latest) <= rest_request._MEMORY_ENTRIES
    before = len(rest_request._forms)
    decode(body_of([1, 2], parameters={"k": "x" * rest_request._MEMORY_HEADER_SIZE}), None, "m")
    assert len(rest_request._forms) == before
