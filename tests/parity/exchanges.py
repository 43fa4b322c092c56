"""The questions that both servers are asked, and their answers as plain trees that can be compared field by field."""

# ruff: noqa: E501 (a table)
from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import grpc
import numpy as np
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.support.bad_requests import TABLE, A, B, raw
from tests.support.clients import ask, tensor
from tools.process import ServerProcess

Tree: TypeAlias = dict[str, Any]
BAD = {row.row: row for row in TABLE if row.triton != 0}
MODELS = ("add_sub", "auto_complete", "batching", "identity", "versions", "whoami")
VOLATILE = {"last_inference", "ns"}
"""Times of day and durations: their presence is compared, not their values."""


class Exchange(NamedTuple):
    """A question with a name; `ask` puts it and gives the answer's tree."""

    name: str
    ask: Callable[[ServerProcess], Tree]


def http(
    name: str, path: str, body: bytes = b"", method: str = "POST", headers: dict[str, str] | None = None
) -> Exchange:
    """A raw HTTP request; the tree has status, headers that matter, JSON, and what follows it."""

    def send(server: ServerProcess) -> Tree:
        answer = ask(server, method, path, body, headers)
        tree: Tree = {"status": answer.status}
        for header in ("content-encoding", "inference-header-content-length"):
            tree[header] = header in answer.headers
        content, encoding = answer.body, answer.headers.get("content-encoding")
        content = gzip.decompress(content) if encoding == "gzip" else content
        content = zlib.decompress(content) if encoding == "deflate" else content
        length = int(answer.headers.get("inference-header-content-length", len(content)))
        tree["json"] = settled(json.loads(content[:length])) if length else None
        tree["tail"] = content[length:].hex()
        if answer.status == 200:
            tree["content-type"] = answer.headers.get("content-type")
        return tree

    return Exchange(f"http {name}", send)


def infer(
    name: str, model: str, request: dict[str, Any], tail: bytes = b"", headers: dict[str, str] | None = None
) -> Exchange:
    """An inference; with `tail`, in the binary extension."""
    body = json.dumps(request).encode()
    length = {"Inference-Header-Content-Length": str(len(body))} if tail else {}
    return http(name, f"/v2/models/{model}/infer", body + tail, headers={**length, **(headers or {})})


def call(name: str, method: str, request: Message) -> Exchange:
    """A gRPC call; the tree has the code, the details, and the message."""

    def send(server: ServerProcess) -> Tree:
        with grpc.insecure_channel(server.grpc) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            try:
                answer = getattr(stub, method)(request, timeout=30)
            except grpc.RpcError as error:
                return {"code": error.code().name, "details": str(error.details())}
        return {"code": "OK", "message": settled(MessageToDict(answer, preserving_proto_field_name=True))}

    return Exchange(f"grpc {name}", send)


def settled(value: Any) -> Any:
    """The tree without what differs from one moment, or one process, to the next."""
    if isinstance(value, dict):
        return {key: "?" if key in VOLATILE else settled(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [settled(entry) for entry in value]
    return value


def message(model: str, *tensors: tuple[str, str, np.ndarray[Any, Any] | bytes, list[int]], **more: Any) -> Any:
    """A ModelInferRequest with raw contents."""
    inputs = [pb.ModelInferRequest.InferInputTensor(name=n, datatype=d, shape=s) for n, d, _, s in tensors]
    contents = [data if isinstance(data, bytes) else data.tobytes() for _, _, data, _ in tensors]
    return pb.ModelInferRequest(model_name=model, inputs=inputs, raw_input_contents=contents, **more)


VECTOR = np.array([1, 2, 3, 4], np.float32)
GOOD = {"id": "42", "inputs": [A, B]}
BINARY = [raw("INPUT0", "FP32", [4], 16), raw("INPUT1", "FP32", [4], 16)]
TAIL = VECTOR.tobytes() * 2
TEXT = {"inputs": [tensor("TEXT", "BYTES", [2, 1], ["a", "grün"])]}
ALL_BINARY = {"parameters": {"binary_data_output": True}}

SERVER = [
    http("metadata", "/v2", method="GET"),
    http("live", "/v2/health/live", method="GET"),
    http("ready", "/v2/health/ready", method="GET"),
    http("index", "/v2/repository/index"),
    http("index of the ready", "/v2/repository/index", b'{"ready": true}'),
    http("load", "/v2/repository/models/add_sub/load"),
    http("unload", "/v2/repository/models/add_sub/unload"),
    http("trailing slash", "/v2/health/live/", method="GET"),
    http("query", "/v2/health/live?x=1", method="GET"),
    call("metadata", "ServerMetadata", pb.ServerMetadataRequest()),
    call("live", "ServerLive", pb.ServerLiveRequest()),
    call("ready", "ServerReady", pb.ServerReadyRequest()),
    call("index", "RepositoryIndex", pb.RepositoryIndexRequest()),
    call("load", "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="add_sub")),
]


def traces(name: str, changes: dict[str, Any] | None = None, model: str = "") -> Exchange:
    """A question about, or a change to, the settings of traces."""
    path = f"/v2/models/{model}/trace/setting" if model else "/v2/trace/setting"
    return http(name, path, json.dumps(changes or {}).encode(), "GET" if changes is None else "POST")


def logging(name: str, changes: dict[str, Any] | None = None) -> Exchange:
    """A question about, or a change to, the settings of the log."""
    return http(name, "/v2/logging", json.dumps(changes or {}).encode(), "GET" if changes is None else "POST")


OBSERVED = [
    traces("trace setting"),
    traces("trace setting of a model", model="add_sub"),
    traces("trace setting changed", {"trace_rate": "7", "trace_count": "3", "log_frequency": "2", "unknown": "1"}),
    traces("trace setting of a model that follows", model="add_sub"),
    traces("trace setting of a model changed", {"trace_rate": "9"}, "add_sub"),
    traces("trace setting of all stays"),
    traces("trace setting of a model cleared", {"trace_rate": None}, "add_sub"),
    traces("trace setting cleared", {"trace_rate": None, "trace_count": None, "log_frequency": None}),
    traces("trace level unknown", {"trace_level": ["ODD"]}),
    traces("trace level off", {"trace_level": ["OFF"]}),
    traces("bad trace setting of no model", None, "nope"),
    traces("bad trace level without a file", {"trace_level": ["TIMESTAMPS"]}),
    traces("bad trace levels", {"trace_level": ["OFF", "TIMESTAMPS"]}),
    traces("bad trace rate", {"trace_rate": "x"}),
    traces("bad trace rate, a number", {"trace_rate": 1}),
    traces("bad trace count", {"trace_count": "-2"}),
    traces("bad trace file", {"trace_file": "/tmp/x"}),
    call("trace setting", "TraceSetting", pb.TraceSettingRequest()),
    call("trace setting of a model", "TraceSetting", pb.TraceSettingRequest(model_name="add_sub")),
    call("trace setting of no model", "TraceSetting", pb.TraceSettingRequest(model_name="nope")),
    call("trace rate", "TraceSetting", pb.TraceSettingRequest(
        settings={"trace_rate": pb.TraceSettingRequest.SettingValue(value=["5"])})),
    call("trace rate cleared", "TraceSetting", pb.TraceSettingRequest(
        settings={"trace_rate": pb.TraceSettingRequest.SettingValue()})),
    logging("log settings"),
    logging("log settings changed", {"log_warning": False, "log_verbose_level": 1, "log_format": "ISO8601", "x": 1}),
    logging("log settings changed back", {"log_warning": True, "log_verbose_level": 0, "log_format": "default"}),
    logging("bad log info", {"log_info": 1}),
    logging("bad log format", {"log_format": "abc"}),
    logging("bad log file", {"log_file": "x"}),
    call("log settings", "LogSettings", pb.LogSettingsRequest()),
    call("log level", "LogSettings", pb.LogSettingsRequest(
        settings={"log_verbose_level": pb.LogSettingsRequest.SettingValue(uint32_param=1)})),
    call("log level back", "LogSettings", pb.LogSettingsRequest(
        settings={"log_verbose_level": pb.LogSettingsRequest.SettingValue(uint32_param=0)})),
]  # fmt: skip
MODEL = [
    exchange
    for name in MODELS
    for exchange in (
        http(f"metadata of {name}", f"/v2/models/{name}", method="GET"),
        http(f"config of {name}", f"/v2/models/{name}/config", method="GET"),
        http(f"ready of {name}", f"/v2/models/{name}/ready", method="GET"),
        call(f"metadata of {name}", "ModelMetadata", pb.ModelMetadataRequest(name=name)),
        call(f"config of {name}", "ModelConfig", pb.ModelConfigRequest(name=name)),
        call(f"ready of {name}", "ModelReady", pb.ModelReadyRequest(name=name)),
    )
] + [
    http("statistics of the unused", "/v2/models/slow/stats", method="GET"),
    call("statistics of the unused", "ModelStatistics", pb.ModelStatisticsRequest(name="slow")),
    http("metadata of a version", "/v2/models/versions/versions/1", method="GET"),
    http("metadata of no version", "/v2/models/versions/versions/2", method="GET"),
    call("metadata of no model", "ModelMetadata", pb.ModelMetadataRequest(name="nope")),
    call("config of no model", "ModelConfig", pb.ModelConfigRequest(name="nope")),
    call("ready of no model", "ModelReady", pb.ModelReadyRequest(name="nope")),
    call("statistics of no model", "ModelStatistics", pb.ModelStatisticsRequest(name="nope")),
]
INFER = [
    infer("json", "add_sub", GOOD),
    infer("json, a version", "add_sub/versions/1", GOOD),
    infer("json, nested", "add_sub", {"inputs": [{**A, "data": [[1, 2], [3, 4]]}, B]}),
    infer("json, integers for floats", "add_sub", {"inputs": [{**A, "data": [1, 2, 3, 4]}, B]}),
    infer("json, one output", "add_sub", {**GOOD, "outputs": [{"name": "OUTPUT1"}]}),
    infer("json, an output twice", "add_sub", {**GOOD, "outputs": [{"name": "OUTPUT1"}, {"name": "OUTPUT1"}]}),
    infer("json, outputs in the other order", "add_sub", {**GOOD, "outputs": [{"name": "OUTPUT1"}, {"name": "OUTPUT0"}]}),
    infer("json, no outputs listed", "add_sub", {**GOOD, "outputs": []}),
    infer("json, unknown keys", "add_sub", {**GOOD, "more": {"x": 1}}),
    infer("json, custom parameters", "add_sub", {**GOOD, "parameters": {"a": 1, "b": "x", "c": True, "d": 1.5}}),
    infer("json, empty id", "add_sub", {**GOOD, "id": ""}),
    infer("binary in", "add_sub", {"inputs": BINARY}, TAIL),
    infer("binary out", "add_sub", {**GOOD, **ALL_BINARY}),
    infer("binary both", "add_sub", {"inputs": BINARY, **ALL_BINARY}, TAIL),
    infer("binary, one input of two", "add_sub", {"inputs": [BINARY[0], B], **ALL_BINARY}, TAIL[:16]),
    infer("binary, one output of two", "add_sub", {**GOOD, "outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": True}}, {"name": "OUTPUT1"}]}),
    infer("binary by default, but listed", "add_sub", {**GOOD, **ALL_BINARY, "outputs": [{"name": "OUTPUT0"}]}),
    infer("gzip out", "add_sub", GOOD, headers={"Accept-Encoding": "gzip"}),
    infer("deflate out", "add_sub", GOOD, headers={"Accept-Encoding": "gzip;q=0.5, deflate"}),
    infer("identity out", "add_sub", GOOD, headers={"Accept-Encoding": "identity, gzip;q=0.5"}),
    http("gzip in", "/v2/models/add_sub/infer", gzip.compress(json.dumps(GOOD).encode()), headers={"Content-Encoding": "gzip"}),
    http("bare body", "/v2/models/slow/infer", np.zeros(1, np.float32).tobytes(), headers={"Inference-Header-Content-Length": "0"}),
    infer("strings", "auto_complete", TEXT),
    infer("strings, binary out", "auto_complete", {**TEXT, **ALL_BINARY}),
    infer("rows", "batching", {"inputs": [tensor("INPUT", "FP32", [2, 3], [1, 2, 3, 4, 5, 6])]}),
    infer("no columns", "batching", {"inputs": [tensor("INPUT", "FP32", [2, 0], [])], **ALL_BINARY}),
    infer("all integers", "identity", {"inputs": [
        tensor("BOOL", "BOOL", [1, 2], [True, False]), tensor("INT8", "INT8", [1, 2], [-128, 127]),
        tensor("UINT8", "UINT8", [1, 1], [255]), tensor("INT16", "INT16", [1, 1], [-32768]),
        tensor("UINT16", "UINT16", [1, 1], [65535]), tensor("INT32", "INT32", [1, 1], [-(2**31)]),
        tensor("UINT32", "UINT32", [1, 1], [2**32 - 1]), tensor("INT64", "INT64", [1, 1], [-(2**63)]),
        tensor("UINT64", "UINT64", [1, 1], [2**64 - 1])]}),
    infer("floats", "identity", {"inputs": [
        tensor("FP32", "FP32", [2, 2], [0.1, 1e-45, 3.4028235e38, -0.0]), tensor("FP64", "FP64", [1, 3], [0.1, 5e-324, 1e308])]}),
    http("floats that are none", "/v2/models/identity/infer",
         b'{"inputs":[{"name":"FP32","datatype":"FP32","shape":[1,3],"data":[NaN,Infinity,-Infinity]}]}'),
    infer("halves", "identity", {"inputs": [raw("FP16", "FP16", [1, 2], 4), raw("BF16", "BF16", [1, 2], 4)], **ALL_BINARY}, bytes(range(8))),
    infer("the model raises", "failing", {"inputs": [tensor("HOW", "BYTES", [1], ["raise"])]}),
    *(infer(f"the model says {code}", "failing", {"inputs": [tensor("HOW", "BYTES", [1], [code])]})
      for code in ("UNKNOWN", "INTERNAL", "NOT_FOUND", "INVALID_ARG", "UNAVAILABLE", "UNSUPPORTED", "ALREADY_EXISTS", "CANCELLED")),
    *(infer(f"the model answers with {how}", "failing", {"inputs": [tensor("HOW", "BYTES", [1], [how])]})
      for how in ("tuple", "too few", "not a response")),
    call("infer", "ModelInfer", message("add_sub", ("INPUT0", "FP32", VECTOR, [4]), ("INPUT1", "FP32", VECTOR, [4]), id="7")),
    call("infer, one output", "ModelInfer", message(
        "add_sub", ("INPUT0", "FP32", VECTOR, [4]), ("INPUT1", "FP32", VECTOR, [4]),
        outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="OUTPUT1")])),
    call("infer, contents", "ModelInfer", pb.ModelInferRequest(model_name="add_sub", inputs=[
        pb.ModelInferRequest.InferInputTensor(
            name=name, datatype="FP32", shape=[4], contents=pb.InferTensorContents(fp32_contents=[1, 2, 3, 4]))
        for name in ("INPUT0", "INPUT1")])),
    call("infer, contents of strings", "ModelInfer", pb.ModelInferRequest(model_name="auto_complete", inputs=[
        pb.ModelInferRequest.InferInputTensor(
            name="TEXT", datatype="BYTES", shape=[1, 1], contents=pb.InferTensorContents(bytes_contents=[b"x\xff"]))])),
    call("infer, custom parameters", "ModelInfer", message(
        "add_sub", ("INPUT0", "FP32", VECTOR, [4]), ("INPUT1", "FP32", VECTOR, [4]),
        parameters={"a": pb.InferParameter(int64_param=1), "b": pb.InferParameter(string_param="x"), "c": pb.InferParameter(bool_param=True)})),
    call("infer, no columns", "ModelInfer", message("batching", ("INPUT", "FP32", b"", [2, 0]))),
    call("infer, no model", "ModelInfer", message("nope", ("INPUT", "FP32", VECTOR, [4]))),
    call("infer, wrong size", "ModelInfer", message("batching", ("INPUT", "FP32", VECTOR, [1, 5]))),
    call("infer, wrong datatype", "ModelInfer", message("batching", ("INPUT", "FP64", VECTOR, [1, 2]))),
    call("infer, wrong name", "ModelInfer", message("batching", ("OUTPUT", "FP32", VECTOR, [1, 4]))),
    *(call(f"infer, the model says {code}", "ModelInfer", message("failing", ("HOW", "BYTES", len(code).to_bytes(4, "little") + code.encode(), [1])))
      for code in ("INTERNAL", "INVALID_ARG", "UNAVAILABLE", "CANCELLED")),
]  # fmt: skip
CLASSES = {"parameters": {"classification": 2}}
PLACE = {"shared_memory_region": "nope", "shared_memory_byte_size": 16}


def classified(*values: float, k: int = 2) -> Any:
    """A request of the model `batching` for its greatest values, over gRPC."""
    output = pb.ModelInferRequest.InferRequestedOutputTensor(
        name="OUTPUT", parameters={"classification": pb.InferParameter(int64_param=k)}
    )
    data = np.array([values], np.float32)
    return message("batching", ("INPUT", "FP32", data, [1, len(values)]), outputs=[output])


EXTENSIONS = [
    infer("classes", "batching", {
        "inputs": [tensor("INPUT", "FP32", [2, 3], [1, 3, 2, -5.5, 0.25, 1e9])], "outputs": [{"name": "OUTPUT", **CLASSES}]}),
    infer("classes, binary", "batching", {
        "inputs": [tensor("INPUT", "FP32", [1, 3], [1, 3, 2])],
        "outputs": [{"name": "OUTPUT", "parameters": {"classification": 9, "binary_data": True}}]}),
    infer("classes of integers", "batching", {
        "inputs": [tensor("INPUT", "FP32", [1, 1], [1])], "outputs": [{"name": "REQUESTS", **CLASSES}]}),
    # Not of strings: Triton divides by their size, 0, and ends.
    call("classes", "ModelInfer", classified(1, 3, 2)),
    call("more classes than there are", "ModelInfer", classified(1, 3, 2, k=9)),
    http("regions", "/v2/systemsharedmemory/status", method="GET"),
    http("region that is not there", "/v2/systemsharedmemory/region/nope/status", method="GET"),
    http("unregister what is not there", "/v2/systemsharedmemory/region/nope/unregister"),
    http("unregister all", "/v2/systemsharedmemory/unregister"),
    http("bad register without a key", "/v2/systemsharedmemory/region/r/register", b'{"byte_size": 8}'),
    http("bad register without a size", "/v2/systemsharedmemory/region/r/register", b'{"key": "/k"}'),
    http("bad register without an object", "/v2/systemsharedmemory/region/r/register", b'{"key": "/no-such", "byte_size": 8}'),
    http("bad register without a name", "/v2/systemsharedmemory/register", b'{"key": "/k", "byte_size": 8}'),
    http("cuda regions", "/v2/cudasharedmemory/status", method="GET"),
    http("bad cuda handle", "/v2/cudasharedmemory/region/r/register", b'{"raw_handle": {"b64": "AAAA"}, "device_id": 0, "byte_size": 8}'),
    http("bad cuda without a handle", "/v2/cudasharedmemory/region/r/register", b'{"device_id": 0, "byte_size": 8}'),
    infer("input in a region that is not there", "add_sub", {"inputs": [
        {"name": "INPUT0", "datatype": "FP32", "shape": [4], "parameters": PLACE}, B]}),
    infer("output in a region that is not there", "add_sub", {**GOOD, "outputs": [{"name": "OUTPUT0", "parameters": PLACE}]}),
    infer("output in a region and classified", "add_sub", {
        **GOOD, "outputs": [{"name": "OUTPUT0", "parameters": {**PLACE, "classification": 1}}]}),
    call("regions", "SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest()),
    call("region that is not there", "SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest(name="nope")),
    call("unregister", "SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(name="nope")),
    call("cuda regions", "CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest()),
    http("generate with an unknown model", "/v2/models/nope/generate", b'{"x": 1}'),
]  # fmt: skip
REFUSED = [http(f"bad {row.row}", row.path, row.body, row.method, row.headers) for row in BAD.values()]
EXCHANGES = [*SERVER, *OBSERVED, *MODEL, *INFER, *EXTENSIONS, *REFUSED]
