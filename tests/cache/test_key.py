"""Keys: equal for requests that say the same, different for any that do not."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserver.cache.key import KEY_BYTES, key_of
from pyserver.types import InferRequest, RequestedOutput, Tensor


def request() -> InferRequest:
    inputs = [Tensor("A", "FP32", (2,), b"\0\0\x80\x3f\0\0\0\x40"), Tensor("B", "INT8", (3,), bytearray(b"abc"))]
    return InferRequest("m", "1", "id", inputs, None, {"temperature": 1, "lang": "de"})


def change(how: Callable[[InferRequest], object]) -> InferRequest:
    changed = copy.deepcopy(request())
    how(changed)
    return changed


DIFFERENT: dict[str, Callable[[InferRequest], object]] = {
    "a byte": lambda r: setattr(r.inputs[1], "data", b"abd"),
    "a datatype": lambda r: setattr(r.inputs[0], "datatype", "INT32"),
    "a shape": lambda r: setattr(r.inputs[0], "shape", (1, 2)),
    "a name": lambda r: setattr(r.inputs[0], "name", "C"),
    "an input less": lambda r: r.inputs.pop(),
    "swapped contents": lambda r: (setattr(r.inputs[0], "name", "B"), setattr(r.inputs[1], "name", "A")),
    "a parameter": lambda r: r.parameters.update(lang="en"),
    "a parameter's type": lambda r: r.parameters.update(temperature=True),
    "a parameter's other type": lambda r: r.parameters.update(temperature=1.0),
    "a parameter less": lambda r: r.parameters.pop("lang"),
    "an output": lambda r: setattr(r, "outputs", [RequestedOutput("X")]),
    "a sequence": lambda r: setattr(r, "correlation_id", 7),
    "a sequence by name": lambda r: setattr(r, "correlation_id", "7"),
    "flags": lambda r: setattr(r, "flags", 1),
}
SAME: dict[str, Callable[[InferRequest], object]] = {
    "nothing": lambda r: None,
    "the order of inputs": lambda r: r.inputs.reverse(),
    "the kind of buffer": lambda r: setattr(r.inputs[0], "data", memoryview(bytearray(r.inputs[0].data))),
    "the id": lambda r: setattr(r, "id", "other"),
    "the priority": lambda r: setattr(r, "priority", 3),
    "the form of the answer": lambda r: setattr(r, "binary_output", True),
    "the order of parameters": lambda r: setattr(r, "parameters", dict(reversed(r.parameters.items()))),
}


@pytest.mark.parametrize("how", DIFFERENT.values(), ids=DIFFERENT)
def test_what_makes_another_key(how: Callable[[InferRequest], object]) -> None:
    assert key_of(b"salt", change(how)) != key_of(b"salt", request())


@pytest.mark.parametrize("how", SAME.values(), ids=SAME)
def test_what_does_not(how: Callable[[InferRequest], object]) -> None:
    assert key_of(b"salt", change(how)) == key_of(b"salt", request())


def test_the_model_is_in_the_salt() -> None:
    assert key_of(b"salt", request()) != key_of(b"salu", request())
    assert len(key_of(b"", request())) == KEY_BYTES


def test_outputs_by_name_not_by_order() -> None:
    one, other = ([RequestedOutput(name) for name in names] for names in ("XY", "YX"))
    assert key_of(b"", change(lambda r: setattr(r, "outputs", one))) == key_of(
        b"", change(lambda r: setattr(r, "outputs", other))
    )


tensors = st.lists(
    st.tuples(st.text("ab", min_size=1, max_size=2), st.binary(max_size=3)), max_size=3, unique_by=lambda pair: pair[0]
)


@given(tensors, tensors)
def test_no_two_requests_run_together(one: list[tuple[str, bytes]], other: list[tuple[str, bytes]]) -> None:
    """However bytes move over the borders of tensors and names."""
    keys = [
        key_of(b"", InferRequest("m", inputs=[Tensor(name, "UINT8", (len(data),), data) for name, data in each]))
        for each in (one, other)
    ]
    assert (keys[0] == keys[1]) == (sorted(one) == sorted(other))
