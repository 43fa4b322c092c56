"""The edges of size: nothing, one, many rows, 64 MB; and many clients at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http

from tests.support.clients import ask, infer_json, one_input, tensor
from tests.support.routes import ROUTES, Infer, route
from tools.process import ServerProcess

# aiohttp's advice to its caller, tritonclient.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")

MEGABYTE = 1 << 20
CLIENTS, REQUESTS = 64, 20


@pytest.fixture(params=[name for name in ROUTES if name != "http json"])
def infer(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[Infer]:
    with route(request.param, server) as made:
        yield made


@pytest.mark.parametrize("shape", [(0, 0), (0, 7), (7, 0), (1, 1), (1, 3), (3, 1)])
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_small_shapes_keep_their_shape(infer: Infer, shape: tuple[int, int], datatype: str) -> None:
    array = np.full(shape, b"x", np.object_) if datatype == "BYTES" else np.ones(shape, np.float32)
    output = infer("identity", {datatype: (datatype, array)})(f"{datatype}_OUT")
    assert output.shape == shape
    assert output.tolist() == array.tolist()


def test_64_megabytes_there_and_back(infer: Infer) -> None:
    array = np.random.default_rng(0).integers(0, 255, (64, MEGABYTE), np.uint8)
    output = infer("identity", {"UINT8": ("UINT8", array)})("UINT8_OUT")
    assert np.array_equal(output, array)


def test_64_megabytes_of_odd_offsets(infer: Infer) -> None:
    """A tensor behind an odd number of bytes starts, on the wire, where no FP64 may."""
    odd = np.ones((1, 3), np.uint8)
    large = np.arange(8 * MEGABYTE, dtype=np.float64).reshape(8, -1)
    output = infer("identity", {"UINT8": ("UINT8", odd), "FP64": ("FP64", large)})
    assert np.array_equal(output("FP64_OUT"), large)
    assert np.array_equal(output("UINT8_OUT"), odd)


def test_strings_of_all_lengths(infer: Infer) -> None:
    array = np.array([bytes([n % 256]) * n for n in range(0, 20_000, 97)], np.object_).reshape(1, -1)
    output = infer("identity", {"BYTES": ("BYTES", array)})("BYTES_OUT")
    assert output.tolist() == array.tolist()


def test_nan_payloads_survive(infer: Infer) -> None:
    bits = np.array([[0x7F800001, 0x7FC00000, 0xFFFFFFFF, 0x7F800000, 0x80000000, 0x00000001]], np.uint32)
    output = infer("identity", {"FP32": ("FP32", bits.view(np.float32))})("FP32_OUT")
    assert output.view(np.uint32).tolist() == bits.tolist()


def test_no_inputs_at_all_where_all_are_optional(server: ServerProcess) -> None:
    assert infer_json(server, "identity", {"inputs": []}).json["outputs"] == []


def test_rows_of_one_number(server: ServerProcess) -> None:
    """Scalars in a batch: shape [n, 1]."""
    answer = infer_json(server, "batching", {"inputs": [tensor("INPUT", "FP32", [3, 1], [1, 2.5, -3])]})
    output = answer.json["outputs"][0]
    assert (output["shape"], output["data"]) == ([3, 1], [1.0, 2.5, -3.0])


def test_numbers_json_can_hardly_say(server: ServerProcess) -> None:
    body = b"""{"inputs": [
        {"name": "FP64", "datatype": "FP64", "shape": [1, 4], "data": [NaN, -Infinity, 5e-324, 0.1]},
        {"name": "INT64", "datatype": "INT64", "shape": [1, 2], "data": [-9223372036854775808, 9223372036854775807]},
        {"name": "UINT64", "datatype": "UINT64", "shape": [1, 1], "data": [18446744073709551615]}]}"""
    answer = ask(server, "POST", "/v2/models/identity/infer", body)
    assert answer.status == 200, answer
    outputs = {output["name"]: output["data"] for output in json.loads(answer.body)["outputs"]}
    assert str(outputs["FP64_OUT"]) == "[nan, -inf, 5e-324, 0.1]"
    assert outputs["INT64_OUT"] == [-9223372036854775808, 9223372036854775807]
    assert outputs["UINT64_OUT"] == [18446744073709551615]


@pytest.mark.parametrize("count", [16, 20_000])
def test_floats_of_any_bits_go_through_json(server: ServerProcess, count: int) -> None:
    """Also once the form of the requests is known; and what is wrong then is still found."""
    rng = np.random.default_rng(count)
    for _ in range(4):
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        for name, dtype in (("FP32", np.dtype(np.float32)), ("FP64", np.dtype(np.float64))):
            array = np.frombuffer(rng.bytes(count * dtype.itemsize), dtype)
            arrays[name] = np.where(np.isfinite(array), array, dtype.type(0.1))
        inputs = [tensor(name, name, [1, count], array.tolist()) for name, array in arrays.items()]
        answer = infer_json(server, "identity", {"inputs": inputs})
        outputs = {output["name"]: output["data"] for output in answer.json["outputs"]}
        for name, array in arrays.items():
            assert np.array(outputs[f"{name}_OUT"]).astype(array.dtype).tobytes() == array.tobytes()
    inputs[1]["data"][count // 2] = "0.5"
    refused = infer_json(server, "identity", {"inputs": inputs})
    assert (refused.status, "non-number as double" in refused.json["error"]) == (400, True)


def test_64_clients_at_once_get_their_own_answers(server: ServerProcess) -> None:
    def over_http(client: int) -> list[float]:
        with triton_http.InferenceServerClient(server.http) as connection:
            return [ask_own(connection, client * 1000 + n) for n in range(REQUESTS)]

    def ask_own(connection: triton_http.InferenceServerClient, number: int) -> float:
        row = np.array([[number]], np.float32)
        answer = connection.infer("batching", [one_input("INPUT", row, "FP32")], request_id=str(number))
        assert answer.get_response()["id"] == str(number)
        return float(answer.as_numpy("OUTPUT")[0, 0])

    def over_grpc(client: int) -> list[float]:
        with triton_grpc.InferenceServerClient(server.grpc) as connection:
            made = []
            for n in range(REQUESTS):
                made.append(triton_grpc.InferInput("INPUT", [1, 1], "FP32"))
                made[-1].set_data_from_numpy(np.array([[client * 1000 + n]], np.float32))
            return [float(connection.infer("batching", [each]).as_numpy("OUTPUT")[0, 0]) for each in made]

    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(over_grpc if client % 2 else over_http, client) for client in range(CLIENTS)]
        for client, future in enumerate(asked):
            assert future.result() == [client * 1000.0 + n for n in range(REQUESTS)]


def test_what_waits_together_is_executed_together(server: ServerProcess) -> None:
    """Eight requests within the queue's delay make the preferred batch of eight."""

    def together(number: int) -> int:
        answer = infer_json(server, "batching", {"inputs": [tensor("INPUT", "FP32", [1, 2], [number, number])]})
        outputs = {output["name"]: output["data"] for output in answer.json["outputs"]}
        assert outputs["OUTPUT"] == [number, number]
        return int(outputs["REQUESTS"][0])

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(together, range(64))) > 1
