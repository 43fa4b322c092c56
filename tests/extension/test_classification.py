"""Classification against a plain reference: sorted Python numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.core import bytes as byte_strings
from pyserver.errors import ErrorCode, ServerError
from pyserver.extension.classification import classified
from pyserver.model.labels import parse_labels
from pyserver.types import Tensor

TYPES = {"FP32": np.float32, "FP64": np.float64, "INT8": np.int8, "UINT64": np.uint64, "INT32": np.int32}


def tensor(datatype: str, values: Any) -> Tensor:
    array = np.asarray(values, TYPES[datatype])
    return Tensor("o", datatype, array.shape, array.tobytes())


def texts(made: Tensor) -> list[list[str]]:
    assert made.datatype == "BYTES"
    elements = [bytes(element).decode() for element in byte_strings.unpack(made.data, math.prod(made.shape))]
    width = made.shape[-1]
    return [elements[at : at + width] for at in range(0, len(elements), width or 1)]


def reference(row: list[Any], count: int, labels: tuple[str, ...]) -> list[str]:
    order = sorted(range(len(row)), key=lambda at: (math.isnan(row[at]), 0 if math.isnan(row[at]) else -row[at]))
    said = []
    for at in order[:count]:
        value = f"{row[at]:f}" if isinstance(row[at], float) else str(row[at])
        said.append(f"{value}:{at}" + (f":{labels[at]}" if at < len(labels) else ""))
    return said


@settings(max_examples=150)
@given(st.data())
def test_the_greatest_in_order(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(sorted(TYPES)))
    rows = data.draw(st.integers(1, 3))
    columns = data.draw(st.integers(1, 6))
    numbers = st.sampled_from([0, 1, 2, 3, 100]) if "INT" in datatype else st.floats(width=32)
    values = np.array(
        data.draw(st.lists(st.lists(numbers, min_size=columns, max_size=columns), min_size=rows, max_size=rows)),
        TYPES[datatype],
    )
    labels = tuple(data.draw(st.lists(st.sampled_from(["cat", "dög", ""]), max_size=7)))
    most = data.draw(st.integers(1, 8))
    made = classified(tensor(datatype, values), most, True, labels, 1000)
    assert made.shape == (rows, min(most, columns))
    assert texts(made) == [reference(row.tolist(), most, labels) for row in values]


def test_without_a_batch_all_is_one_row() -> None:
    made = classified(tensor("FP32", [[1, 4], [3, 2]]), 3, False, ("a", "b"), 1000)
    assert made.shape == (3,)
    assert texts(made) == [["4.000000:1:b", "3.000000:2", "2.000000:3"]]


@pytest.mark.parametrize("shape", [(0, 4), (2, 0)])
def test_nothing_to_sort(shape: tuple[int, ...]) -> None:
    made = classified(tensor("FP32", np.empty(shape)), 2, True, (), 1000)
    assert made.shape == (shape[0], min(2, shape[1]))
    assert not made.data


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL", "FP16", "BF16"])
def test_what_has_no_order_here(datatype: str) -> None:
    with pytest.raises(ServerError, match=f"unsupported type '{datatype}'") as caught:
        classified(Tensor("o", datatype, (1,), b"\0\0"), 1, False, (), 10)
    assert caught.value.code is ErrorCode.INVALID_ARG


def test_the_size_is_limited() -> None:
    with pytest.raises(ServerError, match="classification output tensor too large"):
        classified(tensor("INT8", [[1, 2, 3], [1, 2, 3]]), 3, True, (), 5)
    assert classified(tensor("INT8", [[1, 2, 3], [1, 2, 3]]), 2, True, (), 5).shape == (2, 2)


def test_data_that_is_not_what_the_shape_says() -> None:
    with pytest.raises(ServerError, match="its shape is") as caught:
        classified(Tensor("o", "FP32", (3,), bytes(8)), 1, False, (), 10)
    assert caught.value.code is ErrorCode.INTERNAL


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        (b"", ()), (b"a\nb\n", ("a", "b")), (b"a\r\nb", ("a", "b")), (b"a\n\nb\n", ("a", "", "b")),
        (b"\xff", ("\ufffd",)),
    ],
)  # fmt: skip
def test_labels_are_lines(content: bytes, labels: tuple[str, ...]) -> None:
    assert parse_labels(content) == labels
