"""Ensembles with steps that answer any number of times: order, errors, back-pressure, cancellation, statistics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tritonclient import grpc as triton_grpc

from tests.conftest import Serve
from tests.support.clients import ask, infer_json, tensor
from tests.support.decoupled import ODD, REPEAT, SQUARE, listening, read_slowly, write_decoupled
from tests.support.repositories import write_ensemble, write_model
from tools.process import ServerProcess

TIMES = """
import time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    \"\"\"Y = 10 * A + the number of elements of B; small numbers take longer, 13 is refused.\"\"\"

    def execute(self, requests):
        return [self.one(request) for request in requests]

    def one(self, request):
        a = pb_utils.get_input_tensor_by_name(request, "A").as_numpy()
        b = pb_utils.get_input_tensor_by_name(request, "B")
        if 13 in a:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("thirteen", pb_utils.TritonError.INVALID_ARG))
        time.sleep(max(0, 5 - int(a[0]) // 10) * 0.01)
        more = 0 if b is None else b.as_numpy().size
        return pb_utils.InferenceResponse([pb_utils.Tensor("Y", (10 * a + more).astype(np.int32))])
"""
COUNTS = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    \"\"\"Counts 200 numbers from IN on, in execute itself.\"\"\"

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            start = int(pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0])
            for value in range(start, start + 200):
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([value], np.int32))]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
TIMES_CONFIG = (
    'backend: "python" instance_group { count: 3 kind: KIND_CPU }'
    ' input { name: "A" data_type: TYPE_INT32 dims: [ -1 ] }'
    ' input { name: "B" data_type: TYPE_INT32 dims: [ -1 ] optional: true }'
    ' output { name: "Y" data_type: TYPE_INT32 dims: [ -1 ] }'
)
ENSEMBLES = {
    "each": ["times A=each B=IN -> Y=OUT", "repeat IN=wide -> OUT=each", "times A=IN -> Y=wide"],
    "nested": ["repeat IN=IN -> OUT=one", "square IN=one -> OUT=many", "times A=many B=IN -> Y=OUT"],
    "long": ["repeat IN=IN -> OUT=one", "times A=one -> Y=start", "counts IN=start -> OUT=OUT"],
    "bare": ["odd IN=IN -> OUT=OUT"],
    "after": ["odd IN=IN -> OUT=one", "times A=one -> Y=OUT"],
}
WARM_UP = """
model_warmup { name: "zeros" batch_size: 1
  inputs { key: "IN" value { data_type: TYPE_INT32 dims: [ 2 ] zero_data: true } } }
"""
SIDE_BY_SIDE = {
    "beside": ["repeat IN=IN -> OUT=a", "times A=a -> Y=A", "square IN=IN -> OUT=B", "times A=IN -> Y=C"],
    "within": ["repeat IN=IN -> OUT=one", "square IN=one -> OUT=A", "repeat IN=one -> OUT=B"],
    "uneven": ["odd IN=IN -> OUT=A", "repeat IN=IN -> OUT=B"],
}


@pytest.fixture(scope="module")
def server(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("streams")
    for name, source in {"repeat": REPEAT, "square": SQUARE, "odd": ODD, "counts": COUNTS}.items():
        write_decoupled(repository, name, source)
    write_model(repository, "times", TIMES, TIMES_CONFIG)
    for name, steps in ENSEMBLES.items():
        numbers(write_ensemble(repository, name, steps))
    for name, steps in SIDE_BY_SIDE.items():
        folder = write_ensemble(repository, name, steps, outputs="A B C" if name == "beside" else "A B")
        numbers(folder, WARM_UP if name == "beside" else "")
    numbers(write_ensemble(repository, "held", ENSEMBLES["each"], scheduling="max_inflight_requests: 1"))
    with make_server(repository) as running:
        yield running


def numbers(ensemble: Path, more: str = "") -> None:
    """An ensemble of FP32 becomes one of INT32; `more` is what else its configuration says."""
    config = ensemble / "config.pbtxt"
    config.write_text(config.read_text().replace("TYPE_FP32", "TYPE_INT32") + more)


@pytest.mark.parametrize("model", ["each", "held"])
def test_answers_in_the_order_of_the_stream(server: ServerProcess, model: str) -> None:
    """Three instances take the longer the earlier a response is."""
    with listening(server) as stream:
        stream.ask(model, 1, 2, 3, 4, request_id="q")
        assert [(said.value, said.id) for said in stream.take(4)] == [(104, "q"), (204, "q"), (304, "q"), (404, "q")]
        stream.ask(model, 7, enable_empty_final_response=True)
        assert [(said.value, said.final) for said in stream.take(2)] == [(701, False), (None, True)]


def test_a_stream_in_a_stream(server: ServerProcess) -> None:
    with listening(server) as stream:
        stream.ask("nested", 2, 0, 1, 3, enable_empty_final_response=True)
        heard = stream.take(7)
    assert [said.value for said in heard] == [24, 24, 14, 34, 34, 34, None]
    assert heard[-1].final


def test_long_streams_in_a_stream_do_not_wait_for_each_other(server: ServerProcess) -> None:
    """More responses than may be unread, of a model that gives them one request after another."""
    with listening(server) as stream:
        stream.ask("long", 1, 2, 3)
        heard = stream.take(600)
    assert [said.value for said in heard] == list(range(10, 210)) + list(range(20, 220)) + list(range(30, 230))


def test_over_http(server: ServerProcess) -> None:
    answer = ask(server, "POST", "/v2/models/each/generate_stream", b'{"IN": [5, 6]}')
    assert answer.status == 200
    events = [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: ")]
    assert [event["OUT"] for event in events] == [502, 602]
    answer = infer_json(server, "each", {"inputs": [tensor("IN", "INT32", [1], [1])]})
    assert (answer.status, "doesn't support models with decoupled transaction policy" in answer.error) == (501, True)
    config = ask(server, "GET", "/v2/models/each/config").json
    assert config["model_transaction_policy"] == {"decoupled": True}


def events(server: ServerProcess, model: str, *values: int) -> list[dict[str, Any]]:
    """The outputs of each answer of a stream, or its error."""
    answer = ask(server, "POST", f"/v2/models/{model}/generate_stream", json.dumps({"IN": values}).encode())
    said = [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: ")]
    return [{name: one[name] for name in ("A", "B", "C", "error") if name in one} for one in said]


def test_streams_side_by_side_each_in_its_order(server: ServerProcess) -> None:
    """An answer is of one stream, and has what no stream makes as well."""
    heard = events(server, "beside", 3, 1)
    assert [one for one in heard if "A" in one] == [{"A": 30, "C": [30, 10]}, {"A": 10, "C": [30, 10]}]
    assert [one for one in heard if "A" not in one] == [{"B": 3, "C": [30, 10]}] * 3
    with listening(server) as stream:
        stream.ask("beside", 3, 1, outputs=[triton_grpc.InferRequestedOutput("A")], enable_empty_final_response=True)
        assert [said.final for said in stream.take(3)] == [False, False, True]


def test_streams_side_by_side_in_a_stream(server: ServerProcess) -> None:
    heard = events(server, "within", 2, 1)
    first, second = heard[:3], heard[3:]
    assert sorted(first, key=str) == [{"A": 2}, {"A": 2}, {"B": 2}]
    assert sorted(second, key=str) == [{"A": 1}, {"B": 1}]


def test_a_stream_that_fails_ends_those_beside_it(server: ServerProcess) -> None:
    assert {"B": 5} in (heard := events(server, "uneven", 5)) or len(heard) == 1
    assert "in ensemble 'uneven', step 'odd': unsupported at once" in heard[-1]["error"]
    assert sorted(events(server, "uneven", 3), key=str) == [{"A": 1}, {"B": 3}]
    assert {"A": 1} in events(server, "uneven", 1), "what was said before stays said"
    with listening(server) as stream:
        stream.ask("uneven", 4)
        stream.take(2)
        stream.client.stop_stream(cancel_requests=True)
    server.wait_log("seen cancelled")


def test_errors_are_told_where_they_stand(server: ServerProcess) -> None:
    with listening(server) as stream:
        stream.ask("after", 2)
        first, second, third = stream.take(3)
        assert (first.value, third.value) == (10, 20)
        assert "in ensemble 'after', step 'odd': an error" in second.error
        stream.ask("after", 5)
        assert "in ensemble 'after', step 'odd': unsupported at once" in stream.next().error
        stream.ask("nested", 2, 13, 3)
        heard = stream.take(18)
        assert [said.value for said in heard] == [23, 23] + [None] * 13 + [33] * 3
    assert heard[2].error.endswith("in ensemble 'nested', step 'times': thirteen")


def test_whoever_goes_stops_the_stream(server: ServerProcess) -> None:
    before = server.metric("nv_inference_request_failure", model="after", reason="CANCELED")
    with listening(server) as stream:
        stream.ask("after", 4)
        assert stream.next().value == 40
        stream.client.stop_stream(cancel_requests=True)
    server.wait_log("seen cancelled")
    counted = {"model": "after", "reason": "CANCELED"}
    server.wait_until(
        lambda: server.metric("nv_inference_request_failure", **counted) == before + 1, 5, "to count who has gone"
    )


@pytest.mark.heavy
async def test_a_slow_reader_holds_the_streaming_step_up(server: ServerProcess) -> None:
    await read_slowly(server, "bare")


def test_statistics(serve: Serve, tmp_path: Path) -> None:
    write_decoupled(tmp_path, "repeat", REPEAT)
    write_model(tmp_path, "times", TIMES, TIMES_CONFIG)
    numbers(write_ensemble(tmp_path, "each", ENSEMBLES["each"]))
    server = serve(tmp_path)
    with listening(server) as stream:
        stream.ask("each", 1, 2, 3)
        stream.take(3)
        stream.ask("each", 13)
        assert "thirteen" in stream.next().error
    (entry,) = ask(server, "GET", "/v2/models/each/stats").json["model_stats"]
    counted = {name: entry["inference_stats"][name]["count"] for name in ("success", "fail")}
    assert counted == {"success": 1, "fail": 1}
    assert [entry["response_stats"][str(place)]["success"]["count"] for place in range(3)] == [1, 1, 1]
    assert server.metric("nv_inference_pending_request_count", model="each") == 0
