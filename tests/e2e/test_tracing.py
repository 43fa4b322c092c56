"""Traces of a real server: Triton's files, and OpenTelemetry's spans at a collector of our own."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http
from tritonclient.utils import InferenceServerException

from tests.conftest import Serve
from tests.support.clients import Answer, ask, infer_json, tensor
from tests.support.repositories import write_add, write_constant, write_ensemble, write_model
from tools.process import ServerProcess

ASKED = {"inputs": [tensor("ASKED", "BOOL", [1], [True])]}
USUAL = {
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_file": "",
    "trace_mode": "triton",
}
ORDER = [
    "RECV_START", "RECV_END", "REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END",
    "COMPUTE_OUTPUT_START", "COMPUTE_END", "INFER_RESPONSE_COMPLETE", "REQUEST_END", "SEND_START", "SEND_END",
]  # fmt: skip
CALLER = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            asked = pb_utils.Tensor("ASKED", np.array([True]))
            call = pb_utils.InferenceRequest(
                model_name="constant", inputs=[asked], requested_output_names=["VALUE"], request_id="inner")
            call.exec()
            seen = json.dumps([request.trace().get_context(), json.loads(request.parameters()).get("traceparent")])
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([seen], dtype=object))]))
        return responses
"""
CALLER_CONFIG = """
backend: "python"
input { name: "IN" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUT" data_type: TYPE_STRING dims: [ 1 ] }
"""
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def settings(server: ServerProcess, changes: Any = None, model: str = "") -> Answer:
    path = f"/v2/models/{model}/trace/setting" if model else "/v2/trace/setting"
    return ask(server, "GET" if changes is None else "POST", path, json.dumps(changes or {}).encode())


def by_id(path: Path) -> dict[int, dict[str, Any]]:
    """The traces of a file: what is said of each, its timestamps and its tensors."""
    found: dict[int, dict[str, Any]] = {}
    for entry in json.loads(path.read_text()):
        trace = found.setdefault(entry["id"], {"times": {}, "tensors": []})
        trace["times"].update({each["name"]: each["ns"] for each in entry.get("timestamps", [])})
        trace["tensors"] += [(entry["activity"], entry["tensor"])] if "tensor" in entry else []
        trace.update({key: value for key, value in entry.items() if key not in ("timestamps", "tensor", "activity")})
    return found


def check_order(times: dict[str, int], protocol: str) -> None:
    names = [f"{protocol}_{name}" if name.startswith(("RECV", "SEND")) else name for name in ORDER]
    names = [name for name in names if name in times]
    assert sorted(times) == sorted(names)
    # The stub says how long each of its parts took; what it says of the end may come after the answer.
    for name in ("COMPUTE_START", "INFER_RESPONSE_COMPLETE"):
        assert times["REQUEST_START"] <= times[name] <= times["REQUEST_END"]
    assert times["QUEUE_START"] <= times["COMPUTE_START"] <= times["COMPUTE_INPUT_END"]
    assert times["COMPUTE_INPUT_END"] <= times["COMPUTE_OUTPUT_START"] <= times["COMPUTE_END"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_constant(folder, "constant")
    write_model(folder, "caller", CALLER, CALLER_CONFIG)
    write_add(folder, "add", add=1)
    write_ensemble(folder, "whole", ["add X=IN -> Y=MID", "add X=MID -> Y=OUT"])
    return folder


def ask_caller(server: ServerProcess, **headers: str) -> Any:
    answer = infer_json(server, "caller", {"inputs": [tensor("IN", "INT32", [1], [1])], "id": "outer"}, **headers)
    assert answer.status == 200, answer
    return json.loads(answer.json["outputs"][0]["data"][0])


def test_a_file_of_traces(serve: Serve, repository: Path, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    options = ("--trace-config", "level=TIMESTAMPS", "--trace-config=level=TENSORS", "--trace-config", "rate=1",
               "--trace-config", f"triton,file={file}")  # fmt: skip
    server = serve(repository, options=options)
    assert settings(server).json == {
        **USUAL, "trace_level": ["TIMESTAMPS", "TENSORS"], "trace_rate": "1", "trace_file": str(file),
    }  # fmt: skip
    infer_json(server, "constant", {**ASKED, "id": "one"})
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        value = triton_grpc.InferInput("X", [2], "FP32").set_data_from_numpy(np.array([1.5, 2], np.float32))
        client.infer("add", [value], request_id="two")
    infer_json(server, "whole", {"inputs": [tensor("IN", "FP32", [1], [1])], "id": "three"})
    assert ask_caller(server) == [None, None]
    infer_json(server, "constant", {"inputs": [tensor("ASKED", "INT8", [1], [1])], "id": "refused"})
    server.stop()
    traces = by_id(file)
    one, two, whole, first, second, outer, inner, refused = (traces[number] for number in range(1, 9))
    assert (one["model_name"], one["model_version"], one["request_id"]) == ("constant", 1, "one")
    check_order(one["times"], "HTTP")
    assert set(one["times"]) == {f"HTTP_{each}" if each.startswith(("RECV", "SEND")) else each for each in ORDER}
    assert one["tensors"] == [
        ("TENSOR_QUEUE_INPUT", {"name": "ASKED", "data": "1", "shape": "1", "dtype": "BOOL"}),
        ("TENSOR_BACKEND_OUTPUT", {"name": "VALUE", "data": "1", "shape": "1", "dtype": "INT32"}),
    ]
    check_order(two["times"], "GRPC")
    assert two["tensors"][1][1] == {"name": "Y", "data": "2.5,3", "shape": "2", "dtype": "FP32"}
    assert [each["parent_id"] for each in (first, second)] == [whole["id"]] * 2
    assert [each["request_id"] for each in (first, second)] == ["three", "three"]
    assert first["times"]["REQUEST_END"] <= second["times"]["REQUEST_START"] <= whole["times"]["REQUEST_END"]
    assert (inner["model_name"], inner["request_id"], inner["parent_id"]) == ("constant", "inner", outer["id"])
    assert refused["request_id"] == "refused"
    assert "COMPUTE_START" not in refused["times"]
    assert len(traces) == 8


def test_rate_count_and_frequency_of_each_model(serve: Serve, repository: Path, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    server = serve(repository, options=("--trace-config", f"triton,file={file}"))
    changes = {"trace_level": ["TIMESTAMPS"], "trace_rate": "2", "trace_count": "3", "log_frequency": "2"}
    answer = settings(server, changes, "constant")
    assert answer.json == {**USUAL, **changes, "trace_file": str(file)}
    assert settings(server).json == {**USUAL, "trace_file": str(file)}
    for number in range(10):
        infer_json(server, "constant", {**ASKED, "id": str(number)})
        infer_json(server, "add", {"inputs": [tensor("X", "FP32", [1], [1])]})
    # Three of them, each second one: the first file is full, the other is ended with the server.
    server.wait_until((tmp_path / "trace.json.0").exists, 10, "to write its first file")
    with triton_http.InferenceServerClient(server.http) as client:
        assert client.update_trace_settings("constant", {"trace_rate": None})["trace_rate"] == "1000"
        assert client.get_trace_settings("constant")["trace_count"] == "3"
    server.stop()
    ids = [each["request_id"] for at in range(2) for each in by_id(tmp_path / f"trace.json.{at}").values()]
    assert ids == ["1", "3", "5"]
    assert not file.exists()


def test_settings_over_grpc(serve: Serve, repository: Path, tmp_path: Path) -> None:
    server = serve(repository, options=("--trace-config", f"triton,file={tmp_path}/trace.json"))
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        found = client.update_trace_settings(
            "constant", {"trace_level": ["TIMESTAMPS", "TENSORS"], "trace_rate": "7"}, as_json=True
        )
        assert found["settings"]["trace_level"] == {"value": ["TIMESTAMPS", "TENSORS"]}
        assert found["settings"]["trace_rate"] == {"value": ["7"]}
        client.update_trace_settings(settings={"trace_count": "9"})
        found = client.get_trace_settings("constant", as_json=True)["settings"]
        assert (found["trace_rate"], found["trace_count"]) == ({"value": ["7"]}, {"value": ["9"]})
        cleared = client.update_trace_settings("constant", {"trace_rate": [], "trace_level": []}, as_json=True)
        assert cleared["settings"]["trace_rate"] == {"value": ["1000"]}
        assert cleared["settings"]["trace_level"] == {"value": ["OFF"]}
        with pytest.raises(InferenceServerException, match="Request for unknown model : nobody"):
            client.get_trace_settings("nobody")


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"trace_level": ["TIMESTAMPS"]}, 400, "Attempting to set invalid trace setting :trace file name is not given"),
        ({"trace_level": ["OFF", "TIMESTAMPS"]}, 400, "Expect only one trace level 'OFF' is specified"),
        ({"trace_rate": "x"}, 400, "Unable to parse 'trace_rate', got: x"),
        ({"trace_rate": 1}, 400, "attempt to access JSON non-string as string"),
        ({"trace_count": "-2"}, 400, "Expecting value >= -1"),
        ({"trace_file": "/tmp/x"}, 501, "trace file location can not be updated through network protocol"),
        ({"trace_mode": "opentelemetry"}, 501, "trace mode can not be updated through network protocol"),
    ],
)
def test_what_the_settings_refuse(server: ServerProcess, changes: Any, status: int, said: str) -> None:
    answer = settings(server, changes)
    assert (answer.status, said in answer.error) == (status, True), answer
    assert settings(server).json == USUAL
    assert settings(server, {"trace_level": ["ODD"], "more": 1}).json == USUAL


def test_settings_of_no_model(server: ServerProcess) -> None:
    answer = settings(server, None, "nobody")
    assert (answer.status, answer.error) == (400, "Request for unknown model : nobody")


class Collector(HTTPServer):
    """An OTLP collector that keeps the spans it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"


class _Take(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        collector = self.server
        assert isinstance(collector, Collector)
        for whole in ExportTraceServiceRequest.FromString(body).resource_spans:
            collector.resources.append({each.key: each.value.string_value for each in whole.resource.attributes})
            collector.spans += [span for scope in whole.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.sdk")
    made = Collector()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def test_spans_at_a_collector(serve: Serve, repository: Path, collector: Collector) -> None:
    options = ("--trace-config", "mode=opentelemetry", "--trace-config", "level=TIMESTAMPS", "--trace-config", "rate=0",
               "--trace-config", f"opentelemetry,url={collector.url}",
               "--trace-config", "opentelemetry,resource=service.name=mine",
               "--trace-config", "opentelemetry,bsp_schedule_delay=100")  # fmt: skip
    server = serve(repository, options=options)
    infer_json(server, "constant", {**ASKED, "id": "untraced"})
    carrier, parameter = ask_caller(server, traceparent=f"00-{TRACE}-{PARENT}-01")
    answer = infer_json(server, "constant", {**ASKED, "id": "unasked"}, traceparent=f"00-{TRACE}-{PARENT}-00")
    assert answer.status == 200
    assert infer_json(server, "constant", ASKED, traceparent="00-nonsense").status == 200
    server.stop()
    assert collector.resources[0]["service.name"] == "mine"
    spans = {span.name: span for span in collector.spans if span.name != "compute"}
    assert sorted(spans) == ["InferRequest", "caller", "constant"]
    assert all(span.trace_id.hex() == TRACE for span in collector.spans)
    root, caller, inner = spans["InferRequest"], spans["caller"], spans["constant"]
    assert root.parent_span_id.hex() == PARENT
    assert caller.parent_span_id == root.span_id
    assert inner.parent_span_id == caller.span_id
    assert parameter == f"00-{TRACE}-{caller.span_id.hex()}-01"
    assert json.loads(carrier) == {"traceparent": parameter}
    assert [each.parent_span_id for each in collector.spans if each.name == "compute"] in (
        [inner.span_id, caller.span_id],
        [caller.span_id, inner.span_id],
    )
    assert [event.name for event in root.events][:2] == ["HTTP_RECV_START", "HTTP_RECV_END"]
    assert caller.start_time_unix_nano <= inner.start_time_unix_nano <= inner.end_time_unix_nano
    assert inner.end_time_unix_nano <= caller.end_time_unix_nano <= root.end_time_unix_nano
    assert {each.key: each.value.string_value for each in caller.attributes}["triton.request_id"] == "outer"


def test_the_context_of_a_grpc_call(serve: Serve, repository: Path, collector: Collector) -> None:
    options = ("--trace-config", "mode=opentelemetry", "--trace-config=level=TIMESTAMPS", "--trace-config=rate=0",
               "--trace-config", f"opentelemetry,url={collector.url}")  # fmt: skip
    server = serve(repository, options=options)
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        value = triton_grpc.InferInput("ASKED", [1], "BOOL").set_data_from_numpy(np.array([True]))
        client.infer("constant", [value], headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    server.stop()
    spans = {span.name: span for span in collector.spans}
    assert spans["InferRequest"].parent_span_id.hex() == PARENT
    assert "GRPC_SEND_END" in [event.name for event in spans["InferRequest"].events]


@pytest.mark.heavy
def test_a_collector_that_is_not_there_stops_nobody(serve: Serve, repository: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    options = ("--trace-config=mode=opentelemetry", "--trace-config=level=TIMESTAMPS", "--trace-config=rate=1",
               "--trace-config=opentelemetry,url=http://127.0.0.1:9/v1/traces")  # fmt: skip
    server = serve(repository, options=options)
    assert infer_json(server, "constant", ASKED).status == 200
    server.stop()
