"""The table of Triton's errors, whole: every row of HTTP has a question somewhere, and every code of gRPC one here.

`tests/support/bad_requests.py` has the rows that are one request to a common model; both servers are asked these (`make
parity`). Here are those that need a model of their own, or a state; `ELSEWHERE` says who sees the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.conftest import Serve
from tests.support.bad_requests import TABLE
from tests.support.clients import ask, tensor
from tests.support.decoupled import REPEAT, write_decoupled
from tests.support.repositories import MODELS, write_model
from tools.process import ServerProcess

pytestmark = pytest.mark.ours
TESTS = Path(__file__).parent.parent
ROWS = 72
ECHO = """
import triton_python_backend_utils as pb_utils
class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", r.inputs()[0].as_numpy())]) for r in requests]
"""
PAIR = """backend: "python" max_batch_size: 4
input { name: "A" data_type: TYPE_INT32 dims: [ 1 ] } input { name: "B" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }"""
TWO_VARIABLE = """backend: "python" input { name: "A" data_type: TYPE_INT32 dims: [ -1, -1 ] }
output { name: "OUT" data_type: TYPE_INT32 dims: [ -1, -1 ] }"""
TEXTS = """backend: "python" input { name: "A" data_type: TYPE_STRING dims: [ 2 ] }
output { name: "OUT" data_type: TYPE_STRING dims: [ 2 ] }"""
BROKEN = "class TritonPythonModel:\n    def initialize(self, args):\n        raise RuntimeError('no weights')\n"
ELSEWHERE = {
    2: "e2e/test_repository.py", 4: "e2e/test_lifecycle.py", 44: "", 45: "", 46: "", 47: "", 48: "", 49: "", 50: "",
    54: "parity/exchanges.py", 55: "parity/exchanges.py", 56: "parity/exchanges.py", 57: "parity/exchanges.py",
    58: "stub/test_loading.py", 59: "stub/test_execution.py", 60: "stub/test_execution.py",
    61: "stub/test_execution.py", 62: "stub/test_execution.py", 63: "e2e/test_crashes.py",
    64: "scheduler/test_direct.py", 65: "e2e/test_deadlines.py", 66: "e2e/test_sequences.py",
    67: "e2e/test_ensembles.py", 68: "e2e/test_shutdown.py", 69: "", 70: "",
}  # fmt: skip
"""Row to file; none named: shared memory, trace and log settings, whose tests came with them."""


@pytest.fixture(scope="module")
def asked(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("repository")
    for name, config in (("pair", PAIR), ("two_variable", TWO_VARIABLE), ("texts", TEXTS)):
        write_model(repository, name, ECHO, config)
    write_model(repository, "broken", BROKEN, PAIR)
    write_decoupled(repository, "repeat", REPEAT)
    names = ("add_sub", "failing", "pair", "two_variable", "texts", "repeat")
    options = ("--model-control-mode=explicit", *(f"--load-model={name}" for name in names))
    with make_server(MODELS, repository, options=options) as running:
        yield running


def ints(name: str, *values: int, shape: list[int] | None = None) -> dict[str, Any]:
    return tensor(name, "INT32", shape or [len(values), 1], list(values))


RAW = {"Inference-Header-Content-Length": "0"}
INFER: dict[str, tuple[str, Any, dict[str, str], int, str]] = {
    "19 first dimensions differ": ("pair", {"inputs": [ints("A", 1), ints("B", 1, 2)]}, {}, 400,
                                   "batch size does not match other inputs for 'pair'"),
    "21 a batch of none": ("pair", {"inputs": [ints("A", shape=[0, 1]), ints("B", shape=[0, 1])]}, {}, 400, ""),
    "23 no elements": ("two_variable", {"inputs": [ints("A", shape=[0, 3])]}, {}, 200, ""),
    "36 texts as a bare body": ("texts", b"\1\0\0\0a", RAW, 400, "the model must have input shape [1]"),
    "36 two variable dimensions": ("two_variable", bytes(8), RAW, 400, "more than one variable-sized dimension"),
    "42 decoupled": ("repeat", {"inputs": [ints("IN", 1, shape=[1])]}, {}, 501,
                     "doesn't support models with decoupled transaction policy"),
    "43 no such region": ("pair", {"inputs": [{"name": "A", "datatype": "INT32", "shape": [1, 1], "parameters": {
        "shared_memory_region": "x", "shared_memory_byte_size": 4}}, ints("B", 1)]}, {}, 404,
        "Unable to find shared memory region: 'x'"),
}  # fmt: skip
CONTROL: dict[str, tuple[str, str, Any, int, str]] = {
    "6 ready of none": ("GET", "/v2/models/nobody/ready", None, 400, ""),
    "5 statistics of no version": ("GET", "/v2/models/add_sub/versions/9/stats", None, 400, "requested model version"),
    "51 load of none": ("POST", "/v2/repository/models/nobody/load", None, 404, "failed to load 'nobody'"),
    "52 load that fails": ("POST", "/v2/repository/models/broken/load", None, 400, "load failed for model 'broken'"),
    "53 a number for a file": ("POST", "/v2/repository/models/add_sub/load", {"parameters": {"config": 3}}, 400,
                               "attempt to access JSON non-string as string"),
    "71 ready no boolean": ("POST", "/v2/repository/index", {"ready": 1}, 400, "expected a boolean"),
    "72 unload_dependents": ("POST", "/v2/repository/models/add_sub/unload",
                             {"parameters": {"unload_dependents": "x"}}, 400, "Unable to parse 'unload_dependents'"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "body", "headers", "status", "says"), INFER.values(), ids=INFER)
def test_inferences(
    asked: ServerProcess, model: str, body: Any, headers: dict[str, str], status: int, says: str
) -> None:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = ask(asked, "POST", f"/v2/models/{model}/infer", sent, headers)
    assert answer.status == status, answer
    assert says in answer.body.decode()


@pytest.mark.parametrize(("method", "path", "body", "status", "says"), CONTROL.values(), ids=CONTROL)
def test_control(asked: ServerProcess, method: str, path: str, body: Any, status: int, says: str) -> None:
    answer = ask(asked, method, path, b"" if body is None else json.dumps(body).encode())
    assert answer.status == status, answer
    assert says in answer.body.decode()


def test_every_row_has_a_question() -> None:
    named = [row.row for row in TABLE] + [*INFER, *CONTROL]
    numbers = {int(found[0]) for name in named if (found := re.match(r"[0-9]+", name))}
    assert sorted({*numbers, *ELSEWHERE}) == list(range(1, ROWS + 1))
    for file in filter(None, ELSEWHERE.values()):
        assert (TESTS / file).is_file(), file


def message(model: str, *inputs: tuple[str, str, list[int], bytes], **more: Any) -> Any:
    tensors = [pb.ModelInferRequest.InferInputTensor(name=n, datatype=d, shape=s) for n, d, s, _ in inputs]
    return pb.ModelInferRequest(
        model_name=model, inputs=tensors, raw_input_contents=[data for *_, data in inputs], **more
    )


ONE = np.ones(1, np.int32).tobytes()
PARAMETER = pb.ModelRepositoryParameter(string_param="x")
CODES: list[tuple[str, Any, str, str]] = [
    ("ModelMetadata", pb.ModelMetadataRequest(name="nobody"), "NOT_FOUND", "Request for unknown model"),
    ("ModelMetadata", pb.ModelMetadataRequest(name="add_sub", version="9"), "NOT_FOUND", "version 9 is not found"),
    ("ModelConfig", pb.ModelConfigRequest(name="nobody"), "NOT_FOUND", "Request for unknown model"),
    ("ModelInfer", message("nobody"), "NOT_FOUND", "Request for unknown model"),
    ("ModelStatistics", pb.ModelStatisticsRequest(name="nobody"), "INVALID_ARGUMENT", "is not available"),
    ("ModelInfer", message("pair", ("A", "INT32", [1, 1], ONE)), "INVALID_ARGUMENT", "expected 2 inputs but got 1"),
    ("ModelInfer", message("pair", ("A", "INT32", [1, 1], ONE), ("B", "INT32", [1, 1], b"")), "INVALID_ARGUMENT", ""),
    ("ModelInfer", message("failing", ("HOW", "BYTES", [1], b"\5\0\0\0raise")), "INTERNAL", "no such luck"),
    ("ModelInfer", message("failing", ("HOW", "BYTES", [1], b"\x0b\0\0\0UNAVAILABLE")), "UNAVAILABLE", "refused as"),
    ("ModelInfer", message("failing", ("HOW", "BYTES", [1], b"\x0e\0\0\0ALREADY_EXISTS")), "ALREADY_EXISTS", "refused"),
    ("ModelInfer", message("repeat", ("IN", "INT32", [1], ONE)), "UNIMPLEMENTED", "decoupled transaction policy"),
    ("RepositoryIndex", pb.RepositoryIndexRequest(repository_name="x"), "UNIMPLEMENTED", "repository_name"),
    ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="nobody"), "NOT_FOUND", "failed to load 'nobody'"),
    ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(repository_name="x", model_name="y"), "UNIMPLEMENTED",
     "'repository_name' specification is not supported"),
    ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="add_sub", parameters={"x": PARAMETER}),
     "INVALID_ARGUMENT", "unrecognized load parameter"),
    ("RepositoryModelUnload",
     pb.RepositoryModelUnloadRequest(model_name="add_sub", parameters={"unload_dependents": PARAMETER}),
     "INVALID_ARGUMENT", "unload_dependents"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "request_", "code", "says"), CODES, ids=[f"{m} {c}" for m, _, c, _ in CODES])
def test_codes_of_grpc(asked: ServerProcess, method: str, request_: Any, code: str, says: str) -> None:
    with grpc.insecure_channel(asked.grpc) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), method)(request_, timeout=20)
    assert code in ("", caught.value.code().name), caught.value.details()
    assert says in str(caught.value.details())


def test_ready_never_fails_over_grpc(asked: ServerProcess) -> None:
    with grpc.insecure_channel(asked.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert not stub.ModelReady(pb.ModelReadyRequest(name="nobody"), timeout=20).ready
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/inference.GRPCInferenceService/Nothing", None, None)(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_control_where_it_is_off(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="add_sub"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
