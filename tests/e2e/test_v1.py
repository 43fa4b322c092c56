"""V1 over a real server: by its wire form, and (heavy) by KServe's own client."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.clients import Answer, ask
from tests.support.decoupled import REPEAT, write_decoupled
from tests.support.repositories import MODELS
from tools.environments import environment
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

KSERVE = "kserve==0.21.0"
CLIENT = """
import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig


async def v1(url):
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        assert await client.is_server_live(url)
        assert await client.is_model_ready(url, "batching")
        answer = await client.infer(url, {"instances": [[1, 2], [3, 4]]}, model_name="batching")
        assert [row["OUTPUT"] for row in answer["predictions"]] == [[1, 2], [3, 4]]
        for call in (
            client.infer(url, {"instances": 3}, model_name="batching"),
            client.infer(url, {"instances": [1]}, model_name="nope"),
            client.explain(url, "batching", {"instances": [[1]]}),
        ):
            try:
                await call
            except Exception as error:
                assert "Error" in type(error).__name__, error
            else:
                raise AssertionError("accepted")


def request():
    given = InferInput("INPUT", [2, 2], "FP32")
    given.set_data_from_numpy(np.array([[1, 2], [3, 4]], np.float32), binary_data=True)
    return InferRequest(model_name="batching", infer_inputs=[given])


async def v2(url):
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, "batching")
        assert not await client.is_model_ready(url, "nope")
        answer = await client.infer(url, request(), model_name="batching")
        assert answer.outputs[0].as_numpy().ravel().tolist() == [1, 2, 3, 4]


async def grpc(address):
    async with InferenceGRPCClient(address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("batching")
        answer = await client.infer(request())
        assert answer.outputs[0].as_numpy().ravel().tolist() == [1, 2, 3, 4]


for name, check in (
    ("v1", v1(f"http://{sys.argv[1]}")),
    ("v2", v2(f"http://{sys.argv[1]}")),
    ("grpc", grpc(sys.argv[2])),
):
    asyncio.run(check)
    print(name)
"""
"""Run by KServe's interpreter. Arguments: host:port of REST, of gRPC."""


@pytest.fixture(scope="module")
def server(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("v1")
    write_decoupled(repository, "repeat", REPEAT)
    with make_server(MODELS, repository) as running:
        yield running


def predict(server: ServerProcess, model: str, body: Any, **headers: str) -> Answer:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(server, "POST", f"/v1/models/{model}:predict", text, headers)


def test_models(server: ServerProcess) -> None:
    assert ask(server, "GET", "/").json == {"status": "alive"}
    models = ask(server, "GET", "/v1/models").json["models"]
    assert {"add_sub", "batching", "versions"} <= set(models)
    assert len(models) == len(set(models))
    assert ask(server, "GET", "/v1/models/add_sub").json == {"name": "add_sub", "ready": True}
    assert ask(server, "GET", "/v1/models/versions/versions/3").json["ready"]
    unknown = ask(server, "GET", "/v1/models/nope")
    assert (unknown.status, "Model with name nope does not exist." in unknown.error) == (404, True)
    assert ask(server, "GET", "/v1/models/add_sub/").status == 404


def test_predict_by_name(server: ServerProcess) -> None:
    values = {"INPUT0": [1, 2, 3, 4], "INPUT1": [10, 20, 30, 40.5]}
    expected = {"OUTPUT0": [11.0, 22.0, 33.0, 44.5], "OUTPUT1": [-9.0, -18.0, -27.0, -36.5]}
    assert predict(server, "add_sub", {"instances": [values]}).json == {"predictions": [expected]}
    rows = predict(server, "add_sub", {"inputs": values}).json["predictions"]
    assert [row["OUTPUT0"] for row in rows] == expected["OUTPUT0"]


def test_predict_rows(server: ServerProcess) -> None:
    answer = predict(server, "batching", {"instances": [[1, 2, 3], [4, 5, 6]]})
    assert answer.headers["content-type"] == "application/json"
    assert [row["OUTPUT"] for row in answer.json["predictions"]] == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert predict(server, "batching/versions/1", {"inputs": [[7]]}).json["predictions"][0]["OUTPUT"] == [7.0]


def test_predict_strings(server: ServerProcess) -> None:
    answer = predict(server, "auto_complete", {"instances": ["a", "grün"]})
    assert answer.status == 200, answer
    assert len(answer.json["predictions"]) == 2


def test_large_and_compressed(server: ServerProcess) -> None:
    rows = [[float(number)] * 4000 for number in range(8)]
    body = gzip.compress(json.dumps({"instances": rows}).encode())
    answer = predict(server, "batching", body, **{"Content-Encoding": "gzip", "Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    found = json.loads(gzip.decompress(answer.body))["predictions"]
    assert [row["OUTPUT"] for row in found] == rows


@pytest.mark.parametrize(
    ("model", "body", "status", "words"),
    [
        ("nope", {"instances": [1]}, 404, "Model with name nope does not exist."),
        ("batching", b"{", 400, "Unrecognized request format"),
        ("batching", {"foo": 1}, 400, "neither 'instances' nor 'inputs'"),
        ("batching", {"instances": 1}, 400, "to be a list"),
        ("batching", {"instances": [["a"]]}, 400, "input 'INPUT' can't take the string 'a'"),
        ("batching", {"instances": [[1]] * 9}, 400, "batch-size must be <= 8"),
        ("batching", {"instances": [{"WHAT": [1]}]}, 400, "unexpected inference input 'WHAT'"),
        ("add_sub", {"instances": [[1, 2, 3, 4]]}, 400, "model 'add_sub' has several inputs"),
        ("add_sub", {"instances": [{"INPUT0": [1, 2, 3, 4]}]}, 400, "expected 2 inputs but got 1"),
        ("failing", {"instances": ["raise"]}, 500, "Failed to process the request(s)"),
        ("repeat", {"instances": [1]}, 501, "decoupled"),
    ],
)
def test_what_is_refused(server: ServerProcess, model: str, body: Any, status: int, words: str) -> None:
    answer = predict(server, model, body)
    assert answer.status == status, answer
    assert words in answer.error


def test_explain(server: ServerProcess) -> None:
    answer = ask(server, "POST", "/v1/models/add_sub:explain", b'{"instances": [1]}')
    assert (answer.status, answer.error) == (501, "model 'add_sub' does not implement explain")
    assert ask(server, "POST", "/v1/models/batching:explain", b'{"instances": [[1]]}').status == 501
    assert ask(server, "POST", "/v1/models/nope:explain").status == 404
    assert ask(server, "GET", "/v1/models/add_sub:predict").status == 405


@pytest.mark.heavy
def test_kserves_own_client(server: ServerProcess) -> None:
    """REST by V1 and V2, and gRPC, in an environment of its own."""
    python = environment("kserve-client", [KSERVE]) / "bin/python"
    done = subprocess.run(
        [str(python), "-c", CLIENT, server.http, server.grpc], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["v1", "v2", "grpc"]
