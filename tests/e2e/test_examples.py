"""The examples, and those of Triton's public documentation, asked as their clients ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http
from tritonclient.utils import InferenceServerException

from tests.conftest import Serve
from tests.support.clients import ask, infer_json, tensor
from tests.support.repositories import EXAMPLES
from tools.process import ServerProcess

CLIENTS = {"http": triton_http, "grpc": triton_grpc}


@pytest.fixture(scope="module")
def examples(make_server: Serve) -> Iterator[ServerProcess]:
    with make_server(EXAMPLES / "models") as server:
        yield server


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, examples: ServerProcess) -> Iterator[tuple[Any, Any]]:
    """A client library, and a client of it."""
    library: Any = CLIENTS[request.param]
    with library.InferenceServerClient(getattr(examples, request.param)) as made:
        yield library, made


def given(library: Any, name: str, array: np.ndarray[Any, Any], datatype: str) -> Any:
    made = library.InferInput(name, array.shape, datatype)
    made.set_data_from_numpy(array)
    return made


def test_add_sub(client: tuple[Any, Any]) -> None:
    library, connection = client
    a, b = (np.random.default_rng(seed).random(4, np.float32) for seed in (1, 2))
    answer = connection.infer(
        "add_sub",
        [given(library, "INPUT0", a, "FP32"), given(library, "INPUT1", b, "FP32")],
        request_id="1",
        outputs=[library.InferRequestedOutput("OUTPUT0"), library.InferRequestedOutput("OUTPUT1")],
    )
    assert np.array_equal(answer.as_numpy("OUTPUT0"), a + b)
    assert np.array_equal(answer.as_numpy("OUTPUT1"), a - b)


def test_only_what_was_asked_for_comes_back(client: tuple[Any, Any]) -> None:
    library, connection = client
    ones = np.ones(4, np.float32)
    answer = connection.infer(
        "add_sub",
        [given(library, "INPUT0", ones, "FP32"), given(library, "INPUT1", ones, "FP32")],
        outputs=[library.InferRequestedOutput("OUTPUT1")],
    )
    assert answer.as_numpy("OUTPUT0") is None
    assert answer.as_numpy("OUTPUT1").tolist() == [0, 0, 0, 0]


def test_auto_complete(client: tuple[Any, Any]) -> None:
    library, connection = client
    rows = np.array([[1, 2, 3], [10, 10, 10]], np.float32)
    answer = connection.infer("auto_complete", [given(library, "VALUES", rows, "FP32")])
    assert np.allclose(answer.as_numpy("MEAN"), rows.mean(1, keepdims=True))
    assert np.allclose(answer.as_numpy("DEVIATION"), rows.std(1, keepdims=True))


def test_auto_complete_shows_in_metadata_and_config(examples: ServerProcess) -> None:
    metadata = ask(examples, "GET", "/v2/models/auto_complete").json
    assert metadata["platform"] == "python"
    assert metadata["inputs"] == [{"name": "VALUES", "datatype": "FP32", "shape": [-1, -1]}]
    assert [output["name"] for output in metadata["outputs"]] == ["MEAN", "DEVIATION"]
    config = ask(examples, "GET", "/v2/models/auto_complete/config").json
    assert config["max_batch_size"] == 16
    assert "dynamic_batching" in config


def test_the_models_own_error(client: tuple[Any, Any]) -> None:
    library, connection = client
    with pytest.raises(InferenceServerException, match="the mean of nothing is not defined") as caught:
        connection.infer("auto_complete", [given(library, "VALUES", np.zeros((1, 0), np.float32), "FP32")])
    assert caught.value.status() in {"400", "StatusCode.INVALID_ARGUMENT"}


def test_strings(client: tuple[Any, Any]) -> None:
    library, connection = client
    texts = np.array([["straße", "naïve", ""]], np.object_)
    answer = connection.infer("strings", [given(library, "TEXT", texts, "BYTES")])
    encoded = [text.encode() for text in texts.ravel()]
    assert answer.as_numpy("UPPER").ravel().tolist() == [text.decode().upper().encode() for text in encoded]
    assert answer.as_numpy("LENGTH").ravel().tolist() == [len(text) for text in encoded]
    assert answer.as_numpy("ECHO").ravel().tolist() == encoded


def test_strings_over_json(examples: ServerProcess) -> None:
    answer = infer_json(examples, "strings", {"inputs": [tensor("TEXT", "BYTES", [1, 2], ["grün", 'a "b" \\ \n'])]})
    outputs = {output["name"]: output["data"] for output in answer.json["outputs"]}
    assert outputs["UPPER"] == ["GRÜN", 'A "B" \\ \n']
    assert outputs["ECHO"] == ["grün", 'a "b" \\ \n']


def test_metadata_agrees_over_both_protocols(examples: ServerProcess) -> None:
    with triton_grpc.InferenceServerClient(examples.grpc) as connection:
        for model in ("add_sub", "auto_complete", "strings"):
            over_grpc = connection.get_model_metadata(model, as_json=True)
            over_http = ask(examples, "GET", f"/v2/models/{model}").json
            for entry in over_grpc["inputs"] + over_grpc["outputs"]:
                entry["shape"] = [int(dimension) for dimension in entry["shape"]]
            assert over_grpc == over_http


def test_clients_see_a_live_and_ready_server(client: tuple[Any, Any]) -> None:
    _, connection = client
    assert connection.is_server_live()
    assert connection.is_server_ready()
    assert connection.is_model_ready("add_sub")
    assert connection.is_model_ready("add_sub", "1")
    assert not connection.is_model_ready("nope")
    assert not connection.is_model_ready("add_sub", "2")


def test_statistics_count_what_was_asked(examples: ServerProcess) -> None:
    ones = {"inputs": [tensor(name, "FP32", [4], [1, 1, 1, 1]) for name in ("INPUT0", "INPUT1")]}

    def counted() -> tuple[int, int]:
        (entry,) = ask(examples, "GET", "/v2/models/add_sub/stats").json["model_stats"]
        return entry["inference_count"], entry["inference_stats"]["success"]["count"]

    before = counted()
    metric_before = examples.metric("nv_inference_request_success", model="add_sub", version="1")
    for _ in range(3):
        assert json.loads(infer_json(examples, "add_sub", ones).body)["outputs"]
    assert counted() == (before[0] + 3, before[1] + 3)
    assert examples.metric("nv_inference_request_success", model="add_sub", version="1") == metric_before + 3
