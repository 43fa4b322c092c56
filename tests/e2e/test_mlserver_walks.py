"""The walks of MLServer's manual, written anew, through one server that `pyserver start` has started.

Others stand beside their kin: `decode_args` and headers in test_mlserver, the repository API in test_mlserver_folders,
custom environments in test_mlserver_runtimes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.conftest import Serve
from tests.support.clients import ask, infer_json, tensor
from tests.support.mlserver import write_settings
from tests.support.runtimes import RUNTIMES
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

PGM = b"P5 3 2 255\n" + bytes(range(10, 16))
TURNED = [[10, 13], [11, 14], [12, 15]]
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("walks")


@pytest.fixture(scope="module")
def served(make_server: Serve, folder: Path) -> Iterator[ServerProcess]:
    write_settings(
        folder, "settings.json", debug=True, use_structured_logging=True, gzip_enabled=False,
        cors_settings={"allow_origins": ["https://shop"]},
        logging_settings={"loggers": {"mlserver": {"handlers": ["file"]}}, "handlers": {
            "file": {"class": "logging.FileHandler", "filename": str(folder / "server.log"), "level": "WARNING"}}},
    )  # fmt: skip
    picture = {"name": "picture", "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "pgm"}}
    add(folder, "turned", "walks.Turned", inputs=[picture])
    add(folder, "json-hello", "walks.JsonHello")
    add(folder, "worker", "walks.Worker", parallel_workers=2)
    add(folder, "tagged", "walks.Tagged", max_batch_size=3, max_batch_time=0.5)
    add(folder, "heard", "runtimes.Heard", parameters={"version": "v2"})
    with make_server(folder, start=True) as running:
        yield running


def add(folder: Path, name: str, implementation: str, **settings: Any) -> None:
    write_settings(folder / name, name=name, implementation=implementation, **settings)
    module = f"{implementation.partition('.')[0]}.py"
    (folder / name / module).write_text((RUNTIMES / module).read_text())


def output(server: ServerProcess, model: str, *inputs: dict[str, Any]) -> dict[str, Any]:
    answer = infer_json(server, model, {"inputs": list(inputs)})
    assert answer.status == 200, answer
    made: dict[str, Any] = answer.json["outputs"][0]
    return made


def over_grpc(
    server: ServerProcess, model: str, value: bytes, *metadata: tuple[str, str]
) -> tuple[Any, dict[str, str | bytes]]:
    request = pb.ModelInferRequest(model_name=model)
    added = request.inputs.add(name="picture", datatype="BYTES", shape=[1])
    added.contents.bytes_contents.append(value)
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(INFER, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString)
        response, done = call.with_call(request, timeout=20, metadata=metadata)
        return response, dict(done.trailing_metadata())


@pytest.mark.parametrize("parameters", [{}, {"content_type": "pgm"}])
def test_content_types_with_a_codec_of_ones_own(served: ServerProcess, parameters: dict[str, str]) -> None:
    found = output(served, "turned", {**tensor("picture", "BYTES", [1], [PGM.decode()]), "parameters": parameters})
    assert found["parameters"] == {"content_type": "pgm"}
    head, _, pixels = found["data"][0].encode("latin1").partition(b"\n")
    assert head == b"P5 2 3 255"
    assert np.frombuffer(pixels, np.uint8).reshape(3, 2).tolist() == TURNED
    response, _ = over_grpc(served, "turned", PGM)
    assert response.outputs[0].contents.bytes_contents[0].endswith(pixels)


def test_json_models_over_rest_and_grpc(served: ServerProcess) -> None:
    asked = json.dumps({"name": "Ada", "numbers": [1, 2, 3.5]})
    expected = {"hello": "Ada", "sum": 6.5}
    found = output(served, "json-hello", tensor("request", "BYTES", [1], [asked]))
    assert json.loads(found["data"][0]) == expected
    response, _ = over_grpc(served, "json-hello", asked.encode())
    assert json.loads(response.outputs[0].contents.bytes_contents[0]) == expected


def test_headers_over_grpc_by_default(served: ServerProcess) -> None:
    response, trailing = over_grpc(served, "heard", b"", ("x-a", "b"))
    assert '"x-a":"b"' in response.outputs[0].contents.bytes_contents[0].decode()
    assert trailing["x-answer"] == "yes"


def test_several_models_and_versions_in_one_server(served: ServerProcess) -> None:
    listed = {(each["name"], each.get("version")) for each in ask(served, "POST", "/v2/repository/index", b"{}").json}
    assert listed == {("turned", None), ("json-hello", None), ("worker", None), ("tagged", None), ("heard", "v2")}
    assert ask(served, "GET", "/v2/models/heard/versions/v2/ready").status == 200
    assert ask(served, "GET", "/v2/models/heard/versions/v1/ready").status != 200
    assert ask(served, "GET", "/v2/models/turned").json["inputs"][0]["parameters"] == {"content_type": "pgm"}


def test_parallel_inference_and_metrics_of_ones_own(served: ServerProcess) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = [tensor("x", "FP32", [1], [1])] * 8
        pids = [found["data"][0] for found in pool.map(lambda each: output(served, "worker", each), asked)]
    assert len(set(pids)) == 2
    page = served.get("/metrics", served.metrics)[1].decode()
    counts = [line.rpartition(" ")[2] for line in page.splitlines() if line.startswith("worker_rows_count{")]
    assert sum(map(float, counts)) == 8


def test_metrics_of_both_front_ends(served: ServerProcess) -> None:
    before = traffic(served)
    output(served, "json-hello", tensor("request", "BYTES", [1], ['{"name": "a", "numbers": []}']))
    assert ask(served, "GET", "/v2/models/nobody-1/versions/2").status == 404
    assert ask(served, "GET", "/of/no/use").status == 404
    assert ask(served, "GET", "/v2/health/ready").status == 200
    over_grpc(served, "turned", PGM)
    found = traffic(served)
    added = {series: count - before.get(series, 0.0) for series, count in found.items() if count != before.get(series)}
    rest = 'rest_server_requests_total{app_name="mlserver",method="%s",path="%s",status_code="%d"}'
    assert added == {
        rest % ("POST", "/v2/models/{model_name}/infer", 200): 1,
        rest % ("GET", "/v2/models/{model_name}/versions/{model_version}", 404): 1,
        rest % ("GET", "/{path}", 404): 1,
        'grpc_server_handled_total{code="OK",grpc_code="OK",grpc_method="ModelInfer",'
        'grpc_service="inference.GRPCInferenceService",grpc_type="UNARY"}': 1,
    }


def traffic(
    server: ServerProcess, names: tuple[str, ...] = ("rest_server_requests_total{", "grpc_server_handled_total{")
) -> dict[str, float]:
    """What was answered so far, by series."""
    lines = [line.rpartition(" ") for line in server.get("/metrics", server.metrics)[1].decode().splitlines()]
    return {series: float(count) for series, _, count in lines if series.startswith(names)}


def test_metrics_of_calls_and_of_their_messages(served: ServerProcess) -> None:
    families = ("grpc_server_started", "grpc_server_handled", "grpc_server_msg")
    before = traffic(served, families)
    request = pb.ModelInferRequest(model_name="turned")
    request.inputs.add(name="picture", datatype="BYTES", shape=[1]).contents.bytes_contents.append(PGM)
    nobody = pb.ModelInferRequest(model_name="nobody")
    with grpc.insecure_channel(served.grpc) as channel:
        call = channel.stream_stream(STREAM, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString)
        assert len(list(call(iter([request, request]), timeout=20))) == 2
        asked = channel.unary_unary(INFER, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString)
        with pytest.raises(grpc.RpcError):
            asked(nobody, timeout=20)
    found = traffic(served, families)
    added = {series: count - before.get(series, 0.0) for series, count in found.items() if count != before.get(series)}
    stream = 'grpc_method="ModelStreamInfer",grpc_service="inference.GRPCInferenceService",grpc_type="BIDI_STREAMING"}'
    unary = 'grpc_method="ModelInfer",grpc_service="inference.GRPCInferenceService",grpc_type="UNARY"}'
    assert added == {
        f"grpc_server_started_total{{{stream}": 1,
        f"grpc_server_started_total{{{unary}": 1,
        f"grpc_server_msg_received_total{{{stream}": 2,
        f"grpc_server_msg_sent_total{{{stream}": 2,
        f'grpc_server_handled_total{{code="OK",grpc_code="OK",{stream}': 1,
        f'grpc_server_handled_total{{code="NOT_FOUND",grpc_code="NOT_FOUND",{unary}': 1,
    }


def test_metrics_of_what_waits(served: ServerProcess) -> None:
    series = 'rest_server_requests_in_progress{app_name="mlserver",method="POST"}'
    queue = ("batch_request_queue_sum", "batch_request_queue_count")
    before = list(traffic(served, queue).values())
    with ThreadPoolExecutor(2) as pool:
        asked = [{**tensor("x", "FP32", [1, 1], [n]), "parameters": {"tag": f"t{n}"}} for n in range(2)]
        waiting = [pool.submit(output, served, "tagged", each) for each in asked]
        seen = {0.0}
        while not all(each.done() for each in waiting):
            seen |= set(traffic(served, (series,)).values())
    assert seen == {0.0, 1.0, 2.0} or seen == {0.0, 2.0}
    assert traffic(served, (series,)) == {series: 0}
    assert np.subtract(list(traffic(served, queue).values()), before).tolist() == [1, 2]


def test_batches_with_parameters_of_ones_own(served: ServerProcess) -> None:
    with ThreadPoolExecutor(3) as pool:
        asked = [{**tensor("x", "FP32", [1, 1], [n]), "parameters": {"tag": f"t{n}"}} for n in range(3)]
        found = list(pool.map(lambda each: output(served, "tagged", each), asked))
    assert {tuple(sorted(each["data"][0].split(","))) for each in found} == {("t0", "t1", "t2")}
    assert sorted(each["parameters"].get("foo", "") for each in found) == ["", "foo_1", "foo_2"]


def test_gzip_is_off_and_pages_of_the_shop_may_ask(served: ServerProcess) -> None:
    large = tensor("picture", "BYTES", [1], [f"P5 100 100 255\n{'a' * 10000}"])
    answer = infer_json(served, "turned", {"inputs": [large]}, **{"Accept-Encoding": "gzip", "Origin": "https://shop"})
    assert answer.status == 200, answer
    assert "content-encoding" not in answer.headers
    assert answer.headers["access-control-allow-origin"] == "https://shop"


def test_lines_of_the_log_are_json_whatever_they_say(served: ServerProcess) -> None:
    assert ask(served, "GET", '/v2/models/"quoted"\\/ready').status != 200
    served.wait_log("quoted")
    found = [json.loads(line) for line in served.lines]
    assert all({"time", "level", "message"} <= set(line) for line in found)
    assert any('"quoted"' in f"{line['message']} {line.get('path')}" for line in found)


def test_logging_settings_hold_for_the_server(served: ServerProcess, folder: Path) -> None:
    assert (folder / "server.log").read_text() == "", "nothing to warn of yet"
    assert ask(served, "POST", "/v2/repository/models/worker/unload").status == 200
    (folder / "worker" / "walks.py").write_text("import nonsense")
    assert ask(served, "POST", "/v2/repository/models/worker/load").status == 400
    assert "nonsense" in (folder / "server.log").read_text()
