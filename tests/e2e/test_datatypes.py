"""Every datatype through every client and a real model's process, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from tests.support.routes import ROUTES, Array, Infer, route
from tools.process import ServerProcess

NUMBERS = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "BF16": ml_dtypes.bfloat16,
}  # fmt: skip
NOT_IN_JSON = {"FP16", "BF16"}
SHAPES = st_np.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5)


def numbers(datatype: str) -> st.SearchStrategy[Array]:
    """Arrays of any bits at all: infinities, subnormal numbers, and NaNs with payloads among the floats."""
    dtype = np.dtype(NUMBERS[datatype])
    if datatype == "BOOL":
        return st_np.arrays(dtype, SHAPES)
    return st_np.arrays(f"u{dtype.itemsize}", SHAPES).map(lambda bits: bits.view(dtype))


def strings(element: st.SearchStrategy[bytes]) -> st.SearchStrategy[Array]:
    return st_np.arrays(np.object_, SHAPES, elements=element)


def arrays(datatype: str, json: bool) -> st.SearchStrategy[Array]:
    if datatype == "BYTES":
        return strings(st.text(max_size=20).map(str.encode) if json else st.binary(max_size=300))
    if json and NUMBERS[datatype] in (np.float32, np.float64):
        return numbers(datatype).map(lambda array: np.nan_to_num(array))
    return numbers(datatype)


def bits(array: Array) -> object:
    if array.dtype != np.object_:
        return array.shape, array.tobytes()
    return array.shape, [text.encode() if isinstance(text, str) else text for text in array.ravel()]  # str from JSON


@pytest.fixture(scope="module", params=ROUTES)
def named_route(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[tuple[str, Infer]]:
    with route(request.param, server) as infer:
        yield request.param, infer


@pytest.mark.parametrize("datatype", [*NUMBERS, "BYTES"])
def test_round_trip_is_exact(named_route: tuple[str, Infer], datatype: str) -> None:
    name, infer = named_route
    json = name == "http json"
    if json and datatype in NOT_IN_JSON:
        pytest.skip(f"the client sends no {datatype} as JSON")

    @settings(max_examples=20)
    @given(arrays(datatype, json))
    def check(array: Array) -> None:
        output = infer("identity", {datatype: (datatype, array)})
        assert bits(output(f"{datatype}_OUT")) == bits(array)

    check()


def test_all_datatypes_in_one_request(named_route: tuple[str, Infer]) -> None:
    name, infer = named_route
    json = name == "http json"
    datatypes = [d for d in [*NUMBERS, "BYTES"] if not (json and d in NOT_IN_JSON)]
    every = st.fixed_dictionaries({}, optional={datatype: arrays(datatype, json) for datatype in datatypes})

    @settings(max_examples=40)
    @given(every)
    def check(inputs: dict[str, Array]) -> None:
        output = infer("identity", {datatype: (datatype, array) for datatype, array in inputs.items()})
        for datatype, array in inputs.items():
            assert bits(output(f"{datatype}_OUT")) == bits(array)

    check()
