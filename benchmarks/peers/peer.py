"""A server that can be measured: how it is started, how it is asked, and how its answer is read."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import triton_to_np_dtype

from benchmarks.load import GRPC_PATH, Load, h2load, wrk
from benchmarks.workloads.workload import Array, Workload, raw, v2_binary, v2_json
from tools.process import ServerProcess


class NotOfferedError(Exception):
    """The peer has no such protocol, or does not give the right answer over it."""


@dataclass(frozen=True)
class Request:
    """A request as a peer wants it. For gRPC `body` is the message and the rest is unused."""

    body: bytes
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Peer(Protocol):
    """A running server under its name."""

    name: str
    process: ServerProcess

    def request(self, workload: Workload) -> Request:
        """The workload's request in this peer's form; NotOfferedError if it has none."""

    def read(self, workload: Workload, headers: dict[str, str], body: bytes) -> Array:
        """The tensor in an answer."""


class V2Peer:
    """A server of the V2 protocol: the request is the same for all of them."""

    def __init__(self, name: str, process: ServerProcess) -> None:
        self.name = name
        self.process = process

    def request(self, workload: Workload) -> Request:
        """REST with JSON or the binary extension, or a ModelInfer message."""
        array, path = workload.array(), f"/v2/models/{workload.model}/infer"
        if workload.form == "json":
            return Request(v2_json(array, workload.datatype), path, {"Content-Type": "application/json"})
        if workload.form == "binary":
            body, header = v2_binary(array, workload.datatype)
            headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(header)}
            return Request(body, path, headers)
        tensor = pb.ModelInferRequest.InferInputTensor(name="INPUT", datatype=workload.datatype, shape=array.shape)
        message = pb.ModelInferRequest(
            model_name=workload.model, inputs=[tensor], raw_input_contents=[raw(array, workload.datatype)]
        )
        return Request(message.SerializeToString())

    def read(self, workload: Workload, headers: dict[str, str], body: bytes) -> Array:
        """The only output, in the form that was asked for."""
        if workload.form == "proto":
            message = pb.ModelInferResponse.FromString(body)
            return from_raw(message.raw_output_contents[0], message.outputs[0].datatype)
        if workload.form == "json":
            output = json.loads(body)["outputs"][0]
            return from_list(output["data"], output["datatype"])
        return from_raw(body[int(headers["inference-header-content-length"]) :], workload.datatype)


def from_raw(data: bytes, datatype: str) -> Array:
    """The elements in V2's raw bytes."""
    if datatype != "BYTES":
        return np.frombuffer(data, triton_to_np_dtype(datatype))
    items, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        items.append(data[at + 4 : end])
        at = end
    return np.array(items, np.object_)


def from_list(data: list[Any], datatype: str) -> Array:
    """The elements in V2's JSON."""
    if datatype == "BYTES":
        return np.array([item.encode() for item in data], np.object_)
    return np.array(data, triton_to_np_dtype(datatype))


def check(peer: Peer, workload: Workload) -> int:
    """Ask once and compare the answer with what it has to be; its size in bytes. NotOfferedError for a wrong one."""
    request = peer.request(workload)
    try:
        headers, body = _ask_grpc(peer, request) if workload.protocol == "grpc" else _ask_http(peer, request)
        answer = peer.read(workload, headers, body)
    except (grpc.RpcError, OSError, KeyError, ValueError, IndexError, TypeError) as error:
        raise NotOfferedError(f"{peer.name} does not answer {workload.name}: {error!r}"[:300]) from error
    expected = workload.answer(workload.array()).ravel()
    if answer.shape != expected.shape or not (answer == expected).all():
        raise NotOfferedError(f"{peer.name} answers {workload.name} wrongly")
    return len(body)


def measure(peer: Peer, workload: Workload, answer_size: int, seconds: int) -> Load:
    """Load the peer for `seconds`."""
    request = peer.request(workload)
    if workload.protocol == "grpc":
        streams, connections = workload.streams, workload.connections
        return h2load(peer.process.grpc, request.body, answer_size, connections, streams, seconds)
    url = f"http://{peer.process.http}{request.path}"
    return wrk(url, request.body, request.headers, workload.connections, seconds)


def _ask_http(peer: Peer, request: Request) -> tuple[dict[str, str], bytes]:
    connection = http.client.HTTPConnection(peer.process.http, timeout=60)
    try:
        connection.request("POST", request.path, request.body, request.headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(f"status {response.status}: {body[:200]!r}")
    return {name.lower(): value for name, value in response.getheaders()}, body


def _ask_grpc(peer: Peer, request: Request) -> tuple[dict[str, str], bytes]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(peer.process.grpc, options) as channel:
        call = channel.unary_unary(GRPC_PATH, request_serializer=None, response_deserializer=None)
        body: bytes = call(request.body, timeout=60)
    return {}, body
