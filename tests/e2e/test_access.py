"""Restricted APIs and header forwarding, asked of a real server in every form that reaches an operation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tests.conftest import Serve
from tests.support.clients import ask, one_input, tensor
from tests.support.repositories import MODELS, write_model
from tools.process import ServerProcess

KEY = {"adm": "secret"}
METADATA = {"triton-grpc-protocol-adm": "secret"}
RESTRICTED = "inference,statistics,model-repository,shared-memory,model-config"
BODY = json.dumps({"inputs": [tensor(name, "FP32", [4], [1, 2, 3, 4]) for name in ("INPUT0", "INPUT1")]}).encode()

pytestmark = pytest.mark.ours


@pytest.fixture(scope="module", params=["native", "grpcio"])
def guarded(request: pytest.FixtureRequest, make_server: Serve) -> Iterator[ServerProcess]:
    options = (
        f"--http-restricted-api={RESTRICTED}:adm=secret",
        f"--grpc-restricted-protocol={RESTRICTED},health:adm=secret",
        f"--grpc-engine={request.param}",
    )
    with make_server(MODELS, options=options) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/add_sub/infer", 200),
        ("POST", "/v2/models/add_sub/infer?x=1", 200),
        ("POST", "/v2/models/add_sub/versions/1/infer", 200),
        ("POST", "http://elsewhere/v2/models/add_sub/infer", 200),
        ("POST", "/v2/models/add_sub/generate", 400),
        ("POST", "/v2/models/add_sub/generate_stream", 400),
        ("GET", "/v2/models/add_sub/stats", 200),
        ("GET", "/v2/models/stats", 200),
        ("GET", "/v2/models/add_sub/config", 200),
        ("POST", "/v2/repository/index", 200),
        ("POST", "/v2/repository/r/models/add_sub/unload", 501),
        ("GET", "/v2/systemsharedmemory/status", 200),
        ("GET", "/v2/cudasharedmemory/region/x/status", 404),
    ],
)
def test_rest(guarded: ServerProcess, method: str, path: str, status: int) -> None:
    refused = ask(guarded, method, path, BODY)
    assert (refused.status, refused.error) == (403, "This API is restricted, expecting header 'adm'")
    assert ask(guarded, method, path, BODY, {"adm": "Secret"}).status == 403
    assert ask(guarded, method, path, BODY, KEY).status == status
    assert ask(guarded, method, path, BODY, {"ADM": "secret"}).status == status


def test_chunked_and_compressed_bodies_are_no_way_in(guarded: ServerProcess) -> None:
    for headers in ({"Content-Encoding": "gzip"}, {"Accept-Encoding": "gzip"}, {"Connection": "close"}):
        assert ask(guarded, "POST", "/v2/models/add_sub/infer", BODY, headers).status == 403


def test_what_is_not_restricted(guarded: ServerProcess) -> None:
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/add_sub", "/v2/models/add_sub/ready"):
        assert ask(guarded, "GET", path).status == 200
    assert ask(guarded, "GET", "/v2/nothing").status == 404


def test_grpc(guarded: ServerProcess) -> None:
    given = triton_grpc.InferInput("INPUT0", [4], "FP32")
    given.set_data_from_numpy(np.ones(4, np.float32))
    with triton_grpc.InferenceServerClient(guarded.grpc) as client:
        calls: list[Any] = [
            lambda **how: client.infer("batching", [given], **how),
            lambda **how: client.get_inference_statistics(**how),
            lambda **how: client.get_model_config("add_sub", **how),
            lambda **how: client.get_model_repository_index(**how),
            lambda **how: client.unload_model("add_sub", **how),
            lambda **how: client.get_system_shared_memory_status(**how),
            lambda **how: client.is_server_live(**how),
            lambda **how: client.is_model_ready("add_sub", **how),
        ]
        for call in calls:
            for headers in ({}, KEY, {"triton-grpc-protocol-adm": "wrong"}):
                with pytest.raises(InferenceServerException) as caught:
                    call(headers=headers)
                assert "This protocol is restricted, expecting header 'triton-grpc-protocol-adm'" in str(caught.value)
                assert caught.value.status() == "StatusCode.UNAVAILABLE"
        assert client.get_inference_statistics(headers=METADATA).model_stats
        assert client.is_server_live(headers=METADATA)
        assert client.get_server_metadata().name == "triton"
        with pytest.raises(InferenceServerException, match="unexpected inference input"):
            client.infer("batching", [given], headers=METADATA)


def stream(server: ServerProcess, metadata: dict[str, str]) -> list[Any]:
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        inputs = [pb.ModelInferRequest.InferInputTensor(name=f"INPUT{n}", datatype="FP32", shape=[4]) for n in (0, 1)]
        request = pb.ModelInferRequest(model_name="add_sub", inputs=inputs, raw_input_contents=[bytes(16)] * 2)
        return list(stub.ModelStreamInfer(iter([request]), metadata=tuple(metadata.items()), timeout=30))


def test_the_grpc_streams(guarded: ServerProcess) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stream(guarded, {})
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    (answer,) = stream(guarded, METADATA)
    assert not answer.error_message
    with grpc.insecure_channel(guarded.grpc) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch", None, None)
        for call in (check, lambda *asked, **how: next(iter(watch(*asked, **how)))):
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", timeout=30)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert call(b"", metadata=tuple(METADATA.items()), timeout=30) == b"\x08\x01"  # SERVING


SAYS = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("SAID", np.array([request.parameters().encode()], np.object_))])
            for request in requests
        ]
"""
SAYS_CONFIG = """
backend: "python"
input { name: "ASKED" data_type: TYPE_BOOL dims: [ 1 ] }
output { name: "SAID" data_type: TYPE_STRING dims: [ 1 ] }
"""


@pytest.fixture(scope="module", params=["native", "grpcio"])
def forwarding(
    request: pytest.FixtureRequest, make_server: Serve, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    repository: Path = tmp_path_factory.mktemp("forwarding")
    write_model(repository, "says", SAYS, SAYS_CONFIG)
    options = (
        "--http-header-forward-pattern=^(X-|x-|timeout)", "--grpc-header-forward-pattern=^x-",
        f"--grpc-engine={request.param}",
    )  # fmt: skip
    with make_server(repository, options=options) as running:
        yield running


def said(result: Any) -> Any:
    return json.loads(result.as_numpy("SAID")[0])


def test_headers_reach_the_model(forwarding: ServerProcess) -> None:
    body = {"inputs": [tensor("ASKED", "BOOL", [1], [True])], "parameters": {"X-Who": "the client", "mine": 1}}
    path = "/v2/models/says/infer"
    for more in ({}, {}, {"Accept-Encoding": "gzip"}):  # parsed, remembered, by Tornado
        headers = {"X-Who": "ann", "x-other": "é", "Y": "z", **more}
        answer = ask(forwarding, "POST", path, json.dumps(body).encode(), headers)
        if not more:
            found = json.loads(answer.json["outputs"][0]["data"][0])
            assert found == {"X-Who": "ann", "mine": 1, "x-other": "é"}
        assert answer.status == 200
    refused = ask(forwarding, "POST", path, json.dumps(body).encode(), {"timeout": "1"})
    assert (refused.status, refused.error) == (
        400, "Header 'timeout' is reserved for Triton usage and cannot be forwarded.",
    )  # fmt: skip
    with triton_http.InferenceServerClient(forwarding.http) as client:
        how: dict[str, Any] = {"headers": {"X-Case": "1"}, "response_compression_algorithm": "gzip"}
        result = client.infer("says", [one_input("ASKED", np.array([True]), "BOOL")], **how)
        assert said(result) == {"X-Case": "1"}
    generated = ask(forwarding, "POST", "/v2/models/says/generate", b'{"ASKED": true}', {"X-Who": "bob"})
    assert json.loads(generated.json["SAID"]) == {"X-Who": "bob"}


def test_metadata_reaches_the_model(forwarding: ServerProcess) -> None:
    given = triton_grpc.InferInput("ASKED", [1], "BOOL")
    given.set_data_from_numpy(np.array([True]))
    with triton_grpc.InferenceServerClient(forwarding.grpc) as client:
        result = client.infer("says", [given], headers={"x-who": "ann", "y": "z"}, parameters={"mine": 1})
        assert said(result) == {"x-who": "ann", "mine": 1}
        answers: list[Any] = []
        client.start_stream(lambda result, error: answers.append(error or result), headers={"x-who": "bob"})
        client.async_stream_infer("says", [given])
        client.stop_stream()
    assert said(answers[0]) == {"x-who": "bob"}
