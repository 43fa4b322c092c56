"""Every bad request gets a clear refusal, costs nothing, and leaves the server as it was."""

# ruff: noqa: E501 (a table)
from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.conftest import Serve
from tests.support.bad_requests import EVERY_ROW, GOOD, Bad
from tests.support.clients import ask, infer_json
from tests.support.repositories import MODELS
from tools import proc
from tools.process import ServerProcess


@pytest.fixture(scope="module")
def unharmed(make_server: Serve) -> Iterator[ServerProcess]:
    """A server that is, after all that these tests do to it, the process it was, with the descriptors it had."""
    with make_server(MODELS) as server:
        assert infer_json(server, "add_sub", GOOD).status == 200
        stubs, descriptors = proc.stubs(server.pid), proc.descriptors(server.pid)
        yield server
        assert infer_json(server, "add_sub", GOOD).status == 200
        assert proc.stubs(server.pid) == stubs
        server.wait_until(lambda: proc.descriptors(server.pid) <= descriptors, 10, "to close its descriptors")
        assert server.metric("nv_inference_pending_request_count") == 0


@pytest.mark.parametrize("row", EVERY_ROW)
def test_http(unharmed: ServerProcess, row: Bad, request: pytest.FixtureRequest) -> None:
    status, says = row.status, row.says
    if request.config.getoption("--server") == "triton":
        if row.triton == 0:
            pytest.skip("ends Triton's process")
        status, says = row.triton or status, row.triton_says or says
    answer = ask(unharmed, row.method, row.path, row.body, row.headers)
    assert answer.status == status, answer
    assert says in answer.error


def model_infer(server: ServerProcess, request: pb.ModelInferRequest) -> grpc.RpcError:
    with grpc.insecure_channel(server.grpc) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
    return caught.value


def request(*inputs: pb.ModelInferRequest.InferInputTensor, **fields: Any) -> pb.ModelInferRequest:
    return pb.ModelInferRequest(**{"model_name": "add_sub", "inputs": inputs, **fields})


def vector(name: str, shape: tuple[int, ...] = (4,), datatype: str = "FP32", **fields: Any) -> Any:
    return pb.ModelInferRequest.InferInputTensor(name=name, shape=shape, datatype=datatype, **fields)


BYTES = [bytes(16), bytes(16)]
INVALID = grpc.StatusCode.INVALID_ARGUMENT
A, B = vector("INPUT0"), vector("INPUT1")
CONTENTS = pb.InferTensorContents(int_contents=[1, 2, 3, 4])
GRPC = [
    (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'nope' is not found", request(A, B, model_name="nope", raw_input_contents=BYTES)),
    (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'add_sub' version 7 is not found", request(A, B, model_version="7", raw_input_contents=BYTES)),
    (INVALID, "failed to get model version", request(A, B, model_version="x", raw_input_contents=BYTES)),
    (INVALID, "version should be an integral value > 0", request(A, B, model_version="-1", raw_input_contents=BYTES)),
    (INVALID, "expected 2 inputs but got 1 inputs", request(A, raw_input_contents=BYTES[:1])),
    (INVALID, "unable to find data for input tensor 'INPUT1' for model 'add_sub' in request", request(A, B, raw_input_contents=BYTES[:1])),
    (INVALID, "input byte size mismatch for input 'INPUT0'", request(A, B, raw_input_contents=[bytes(12), bytes(16)])),
    (INVALID, "unexpected shape for input 'INPUT0' for model 'add_sub'", request(vector("INPUT0", (2, 2)), B, raw_input_contents=BYTES)),
    (INVALID, "but model 'add_sub' expects 'FP32'", request(vector("INPUT0", datatype="FP31"), B, raw_input_contents=BYTES)),
    (INVALID, "but model 'add_sub' expects 'FP32'", request(vector("INPUT0", datatype="INT32"), B, raw_input_contents=BYTES)),
    (INVALID, "unexpected explicit tensor data for input tensor 'INPUT0'", request(vector("INPUT0", contents=CONTENTS), vector("INPUT1", contents=CONTENTS))),
    (INVALID, "contents field must not be specified when using raw_input_contents for 'INPUT0' for model 'add_sub'",
     request(vector("INPUT0", contents=CONTENTS), B, raw_input_contents=BYTES)),
    (INVALID, "unexpected inference output 'NOPE' for model 'add_sub'",
     request(A, B, raw_input_contents=BYTES, outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="NOPE")])),
    (INVALID, "input 'INPUT0' already exists in request", request(A, A, raw_input_contents=BYTES)),
]  # fmt: skip


@pytest.mark.parametrize(("code", "says", "message"), GRPC, ids=[says for _, says, _ in GRPC])
def test_grpc(unharmed: ServerProcess, code: grpc.StatusCode, says: str, message: pb.ModelInferRequest) -> None:
    error = model_infer(unharmed, message)
    assert error.code() is code, error
    assert says in str(error.details())


@pytest.mark.ours
@pytest.mark.parametrize("shape", [(1 << 62,), (-1,), (1 << 32, 1 << 32, 4), (-(1 << 63),)])
def test_grpc_shapes_that_cannot_be(unharmed: ServerProcess, shape: tuple[int, ...]) -> None:
    error = model_infer(unharmed, request(vector("INPUT0", shape), B, raw_input_contents=BYTES))
    assert error.code() is INVALID, error
    assert "INPUT0" in str(error.details())


HEAD = b"POST /v2/models/add_sub/infer HTTP/1.1\r\nHost: localhost\r\n"


def talk(server: ServerProcess, sent: bytes) -> bytes:
    """Send bytes on a fresh connection, and read until the server closes it."""
    host, port = server.http.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


@pytest.mark.ours
@pytest.mark.parametrize(
    "sent",
    [
        b"NONSENSE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # somebody speaks TLS
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1e3\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"X: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
    ids=["nonsense", "tls", "negative length", "float length", "two lengths", "length and chunks", "bad chunk", "long header"],
)  # fmt: skip
def test_what_is_no_http_is_refused_and_closed(unharmed: ServerProcess, sent: bytes) -> None:
    received = talk(unharmed, sent)
    assert received == b"" or received.startswith(b"HTTP/1.1 4"), received[:200]


def test_clients_that_vanish_in_mid_body(unharmed: ServerProcess) -> None:
    header = json.dumps({"inputs": [{"name": "FP32", "datatype": "FP32", "shape": [1, 1 << 22],
                                     "parameters": {"binary_data_size": 1 << 24}}]}).encode()  # fmt: skip
    head = b"POST /v2/models/identity/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
    head = head % (len(header) + (1 << 24)) + b"Inference-Header-Content-Length: %d\r\n\r\n" % len(header)
    before = proc.descriptors(unharmed.pid)
    host, port = unharmed.http.split(":")
    for sent in (head[:30], head, head + header[:20], head + header, head + header + bytes(1 << 20)):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(sent)
            # A reset instead of an orderly end, as of a client that crashed.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    unharmed.wait_until(
        lambda: proc.descriptors(unharmed.pid) <= before, 10, "to close what vanished clients left open"
    )
    assert infer_json(unharmed, "add_sub", GOOD).status == 200
