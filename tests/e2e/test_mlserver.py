"""MLServer's models, served: the exchanges that were seen with MLServer 1.7.1, and what must hold beyond them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import http as triton_http

from tests.conftest import Serve
from tests.support.clients import Answer, ask, infer_json, one_input, tensor
from tests.support.runtimes import module_of, write_runtime
from tools.process import ServerProcess

pytestmark = pytest.mark.ours
UUID = 36


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlserver")


@pytest.fixture(scope="module")
def served(make_server: Serve, repository: Path) -> Iterator[ServerProcess]:
    for name in ("Echo", "Decoded", "Frame", "Heard", "Broken", "Streams", "Waits", "Plain", "Logs"):
        write_runtime(repository, name.lower(), f"{module_of(name)}.{name}")
    write_runtime(repository, "modern", "modern.Modern")
    write_runtime(
        repository,
        "meta",
        "runtimes.Meta",
        platform="plat",
        versions=["sklearn/1.0"],
        inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 2], "parameters": {"content_type": "np"}}],
        parameters={"content_type": "np", "version": "v1"},
    )
    with make_server(repository, options=("--model-control-mode=explicit", "--load-model=*")) as running:
        yield running


def one(answer: Answer, at: int = 0) -> dict[str, Any]:
    assert answer.status == 200, answer
    output: dict[str, Any] = answer.json["outputs"][at]
    return output


def echoed(server: ServerProcess, datatype: str, shape: list[int], data: Any, **fields: Any) -> dict[str, Any]:
    return one(infer_json(server, "echo", {"inputs": [{**tensor("x", datatype, shape, data), **fields}]}))


def test_a_response_has_mlservers_shape(served: ServerProcess) -> None:
    answer = infer_json(served, "meta", {"inputs": [tensor("x", "FP32", [2, 2], [[1, 2], [3, 4]])]})
    assert answer.status == 200
    made = json.loads(answer.body)
    assert len(made.pop("id")) == UUID
    output = {"name": "output-1", "shape": [2, 2], "datatype": "FP32", "parameters": {"content_type": "np"}}
    assert made == {
        "model_name": "meta",
        "model_version": "v1",
        "parameters": {"content_type": "np"},
        "outputs": [{**output, "data": [1.0, 2.0, 3.0, 4.0]}],
    }
    assert list(json.loads(answer.body)) == ["model_name", "model_version", "id", "parameters", "outputs"]


def test_metadata_are_the_models_own(served: ServerProcess) -> None:
    assert ask(served, "GET", "/v2/models/meta").json == {
        "name": "meta",
        "versions": ["sklearn/1.0"],
        "platform": "plat",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "parameters": {"content_type": "np"}}],
        "outputs": [{"name": "late", "datatype": "FP32", "shape": [-1, 2]}],
        "parameters": {"content_type": "np"},
    }
    bare = {"name": "echo", "versions": [], "platform": "", "inputs": [], "outputs": [], "parameters": {}}
    assert ask(served, "GET", "/v2/models/echo").json == bare
    assert ask(served, "GET", "/v2/models/echo/ready").status == 200


def test_a_vector_is_encoded_as_a_column_and_null_is_nan(served: ServerProcess) -> None:
    output = one(infer_json(served, "meta", {"inputs": [tensor("x", "FP32", [2], [1, None])]}))
    assert output["shape"] == [2, 1]
    assert output["data"] == [1.0, None]


def test_strings_by_np(served: ServerProcess) -> None:
    output = one(infer_json(served, "meta", {"inputs": [tensor("x", "BYTES", [2], ["ab", "cd"])]}))
    assert output["datatype"] == "BYTES"
    assert output["data"] == ["ab", "cd"]


def test_ids_are_kept_made_and_empty(served: ServerProcess) -> None:
    inputs = [tensor("x", "FP32", [1], [1])]
    kept = infer_json(served, "echo", {"id": "mine", "inputs": inputs})
    assert kept.json["id"] == kept.headers["ce-id"] == kept.headers["ce-requestid"] == "mine"
    made = [infer_json(served, "echo", {"inputs": inputs}).json["id"] for _ in range(2)]
    assert made[0] != made[1]
    assert len(made[0]) == UUID
    empty = infer_json(served, "echo", {"id": "", "inputs": inputs})
    assert empty.json["id"] == ""
    assert "ce-id" not in empty.headers


def test_every_answer_has_the_headers_of_a_cloud_event(served: ServerProcess) -> None:
    headers = infer_json(served, "echo", {"inputs": [tensor("x", "FP32", [1], [1])]}).headers
    assert headers["ce-specversion"] == "0.3"
    assert headers["ce-type"] == "io.seldon.serving.inference.response"
    assert headers["ce-source"].startswith("io.seldon.serving.deployment.")
    assert headers["ce-modelid"] == headers["ce-endpoint"] == "echo"


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP32", [2, 2], [[1.5, 2.0], [3.0, 4.0]]),
        ("INT64", [3], [1, 2, 3]),
        ("BYTES", [2], ["a", "\u00e4"]),
        ("BOOL", [2], [True, False]),
        ("UINT64", [1], [2**64 - 1]),
        ("FP32", [1], {"any": [1, {"thing": None}]}),
        ("BYTES", [1], "bare"),
        ("BYTES", [3], ["a", 1, None]),
        ("INT32", [2], [1, None]),
        ("FP32", [7], [1.0]),
        ("FP64", [0], []),
        ("INT8", [1], [1000]),
    ],
)
def test_data_reach_the_model_as_they_are(served: ServerProcess, datatype: str, shape: list[int], data: Any) -> None:
    output = echoed(served, datatype, shape, data)
    flat = np.array(data).ravel().tolist() if datatype == "FP32" and isinstance(data, list) else data
    assert output["data"] == flat or output["data"] == data
    assert (output["shape"], output["datatype"]) == (shape, datatype)


def test_parameters_of_an_input_come_and_go_whatever_they_are(served: ServerProcess) -> None:
    own = {"content_type": "np", "any": {"thing": [1, None, "x"]}, "data": [1, 2]}
    assert echoed(served, "FP32", [1], [1.0], parameters=own)["parameters"] == own


def test_what_a_model_hears(served: ServerProcess) -> None:
    request = {
        "id": "i",
        "parameters": {"deep": {"a": [1, 2]}, "priority": 3, "headers": {"x-a": "overwritten"}},
        "inputs": [{**tensor("x", "FP32", [1], [1]), "parameters": {"p": 1}}],
        "outputs": [{"name": "y", "parameters": {"content_type": "str"}}, {"name": "z"}],
    }
    answer = infer_json(served, "heard", request, **{"X-A": "b", "Content-Type": "application/json"})
    heard = json.loads(one(answer)["data"][0])
    assert heard["deep"] == {"a": [1, 2]}
    assert heard["priority"] == 3
    assert heard["inputs"] == [{"p": 1}]
    assert heard["outputs"] == [{"name": "y", "parameters": {"content_type": "str"}}, {"name": "z"}]
    headers = heard["headers"]
    assert headers["x-a"] == "b"
    assert headers["Ce-Type"] == "io.seldon.serving.inference.request"
    assert headers["Ce-Id"] == headers["Ce-Requestid"] == "i"


def test_a_models_headers_become_headers_and_no_more(served: ServerProcess) -> None:
    answer = infer_json(served, "heard", {"parameters": {"bad": True}, "inputs": []})
    assert answer.headers["x-answer"] == "yes"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert "b" not in answer.headers
    assert answer.json["parameters"] == {"nested": {"a": [1, None]}}
    assert "model_version" not in answer.json


def test_decode_args(served: ServerProcess) -> None:
    answer = infer_json(
        served, "decoded", {"inputs": [tensor("a", "FP32", [2], [1, 2]), tensor("s", "BYTES", [2], ["x", "y"])]}
    )
    first, second = answer.json["outputs"]
    assert (first["name"], first["shape"], first["data"]) == ("output-0", [2, 1], [2.0, 4.0])
    assert (second["name"], second["shape"], second["data"]) == ("output-1", [4, 1], ["x", "y", "x", "y"])
    assert second["parameters"] == {"content_type": "str"}


def test_decode_args_names_what_is_missing_or_too_much(served: ServerProcess) -> None:
    missing = infer_json(served, "decoded", {"inputs": [tensor("a", "FP32", [1], [1])]})
    assert missing.status == 400
    assert "'s'" in missing.error
    strange = infer_json(
        served,
        "decoded",
        {"inputs": [tensor("a", "FP32", [1], [1]), tensor("s", "BYTES", [1], ["x"]), tensor("zz", "FP32", [1], [1])]},
    )
    assert strange.status == 400
    assert strange.error == "Input 'zz' was not found. Available inputs are 'a', 's'."


def test_decode_args_with_a_frame(served: ServerProcess) -> None:
    answer = infer_json(
        served,
        "frame",
        {
            "inputs": [
                tensor("n", "FP64", [2, 1], [1.5, None]),
                tensor("k", "INT32", [2, 1], [1, 2]),
                {**tensor("t", "BYTES", [2, 1], ["u", "v"]), "parameters": {"content_type": "str"}},
            ]
        },
    )
    assert answer.status == 200, answer
    outputs = {output["name"]: output for output in answer.json["outputs"]}
    assert outputs["n"]["data"] == [1.5, None]
    assert "parameters" not in outputs["n"]
    assert outputs["k"]["datatype"] == "INT32"
    assert outputs["t"]["data"] == ["u", "v"]
    assert outputs["t"]["parameters"] == {"content_type": "str"}
    assert outputs["total"]["data"] == [2.5, 2.0]
    assert all(output["shape"] == [2, 1] for output in outputs.values())


def test_modern_hints(served: ServerProcess) -> None:
    answer = infer_json(
        served,
        "modern",
        {
            "inputs": [
                tensor("when", "BYTES", [1], ["2022-01-11T11:00:00Z"]),
                tensor("name", "BYTES", [1], ["me"]),
                tensor("scale", "FP32", [1], [3]),
            ]
        },
    )
    assert one(answer)["data"] == ["me", "2022-01-11"]
    assert one(answer, 1)["data"] == [3.0]
    assert one(infer_json(served, "modern", {"inputs": []}))["data"] == ["None"]


@pytest.mark.parametrize(
    ("how", "status", "error"),
    [
        ("status", 418, "I'm a teapot"),
        ("client", 400, "your fault"),
        ("none", 400, "Model 'broken' returned no predictions after inference"),
        ("other", 500, "builtins.ValueError: bad value"),
    ],
)
def test_what_a_model_raises(served: ServerProcess, how: str, status: int, error: str) -> None:
    answer = infer_json(served, "broken", {"inputs": [tensor("how", "BYTES", [1], [how])]})
    assert (answer.status, answer.error) == (status, error)


def test_bytes_that_are_no_text_are_refused_by_name(served: ServerProcess) -> None:
    answer = infer_json(served, "broken", {"inputs": [tensor("how", "BYTES", [1], ["bytes"])]})
    assert answer.status == 400
    assert "output 'b'" in answer.error


@pytest.mark.parametrize(
    ("request_", "kind", "place", "message"),
    [
        ({}, "missing", ["body", "inputs"], "Field required"),
        ({"id": 5, "inputs": []}, "string_type", ["body", "id"], "Input should be a valid string"),
        ({"inputs": {}}, "list_type", ["body", "inputs"], "Input should be a valid list"),
        ({"inputs": [{"name": "x"}]}, "missing", ["body", "inputs", 0, "shape"], "Field required"),
        ({"inputs": [tensor("x", "FP33", [1], [1])]}, "enum", ["body", "inputs", 0, "datatype"], "Input should be 'BO"),
        ([], "model_attributes_type", ["body"], "Input should be a valid dictionary or object to extract fields from"),
    ],
)
def test_a_request_that_is_none_is_422(
    served: ServerProcess, request_: Any, kind: str, place: list[Any], message: str
) -> None:
    answer = infer_json(served, "echo", request_)
    assert answer.status == 422
    detail, *_ = answer.json["detail"]
    assert (detail["type"], detail["loc"]) == (kind, place)
    assert detail["msg"].startswith(message)


def test_all_that_is_wrong_is_told(served: ServerProcess) -> None:
    wrong = {"id": 5, "inputs": [{"name": "x"}, {**tensor("y", "FP33", [1], None), "shape": ["a"]}], "outputs": [{}]}
    answer = infer_json(served, "echo", wrong)
    assert answer.status == 422
    assert [(detail["type"], ".".join(map(str, detail["loc"]))) for detail in answer.json["detail"]] == [
        ("string_type", "body.id"),
        ("missing", "body.inputs.0.shape"), ("missing", "body.inputs.0.datatype"), ("missing", "body.inputs.0.data"),
        ("int_type", "body.inputs.1.shape.0"), ("enum", "body.inputs.1.datatype"),
        ("missing", "body.outputs.0.name"),
    ]  # fmt: skip


def test_bad_json_is_422(served: ServerProcess) -> None:
    answer = ask(served, "POST", "/v2/models/echo/infer", b"{bad")
    assert answer.status == 422
    assert answer.json == {
        "detail": [
            {
                "type": "json_invalid",
                "loc": ["body", 1],
                "msg": "JSON decode error",
                "input": {},
                "ctx": {"error": "unexpected character, expected a string key"},
            }
        ]
    }


@pytest.mark.parametrize(
    "wrong",
    [
        tensor("x", "FP32", [3, 2], [1, 2, 3]),
        tensor("x", "INT8", [1], [1000]),
        tensor("x", "INT32", [2], [1, None]),
        tensor("x", "FP32", [1], "text"),
        tensor("x", "FP32", [-1], [1, 2, 3, 4, 5, 6, "x"]),
    ],
)
def test_the_clients_mistakes_are_400(served: ServerProcess, wrong: dict[str, Any]) -> None:
    answer = infer_json(served, "meta", {"inputs": [wrong]})
    assert answer.status == 400, answer
    assert "'x'" in answer.error


def test_an_unknown_content_type_falls_back_to_the_default(served: ServerProcess) -> None:
    wanted = {**tensor("x", "FP32", [1], [1]), "parameters": {"content_type": "nope"}}
    assert one(infer_json(served, "meta", {"parameters": {"content_type": "nope"}, "inputs": [wanted]}))["data"] == [
        1.0
    ]


def test_generate_is_infer(served: ServerProcess) -> None:
    body = json.dumps({"id": "g", "inputs": [tensor("x", "FP32", [1], [1.0])]}).encode()
    for path in ("generate", "versions/1/generate"):
        answer = ask(served, "POST", f"/v2/models/echo/{path}", body)
        assert answer.json["outputs"][0]["data"] == [1.0]
        assert answer.headers["ce-id"] == "g"


def events(server: ServerProcess, model: str, count: int, route: str = "infer_stream") -> tuple[Answer, list[Any]]:
    body = json.dumps({"id": "q", "inputs": [tensor("n", "INT32", [1], [count])]}).encode()
    answer = ask(server, "POST", f"/v2/models/{model}/{route}", body)
    parts = answer.body.split(b"\n\n")
    assert parts.pop() == b"" or answer.status != 200
    return answer, [json.loads(part.removeprefix(b"data: ")) for part in parts]


@pytest.mark.parametrize("route", ["infer_stream", "generate_stream", "versions/1/infer_stream"])
def test_a_stream(served: ServerProcess, route: str) -> None:
    answer, found = events(served, "streams", 3, route)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "ce-id" not in answer.headers
    assert [event["outputs"][0]["data"] for event in found] == [[0], [1], [2]]
    assert {event["id"] for event in found} == {"q"}
    headers = found[0]["parameters"]["headers"]
    assert headers["x-s"] == "1"
    assert headers["Ce-Type"] == "io.seldon.serving.inference.response"


def test_a_stream_that_fails_ends_with_an_event(served: ServerProcess) -> None:
    answer, found = events(served, "streams", -2)
    assert answer.status == 200
    assert len(found) == 3
    assert found[-1] == {"error": "enough"}


def test_a_long_stream_waits_for_its_reader(served: ServerProcess) -> None:
    assert [event["outputs"][0]["data"][0] for event in events(served, "streams", 500)[1]] == list(range(500))


def test_a_stream_of_no_or_of_plain_functions(served: ServerProcess) -> None:
    assert events(served, "streams", 0)[1] == []
    assert [event["outputs"][0]["data"] for event in events(served, "plain", 1)[1]] == [[0], [1]]
    assert len(events(served, "echo", 1)[1]) == 1


def test_a_stream_of_an_unknown_model_is_404(served: ServerProcess) -> None:
    assert ask(served, "POST", "/v2/models/nope/infer_stream", b'{"inputs":[]}').status == 404


def test_the_answer_to_one_request_of_a_model_that_streams(served: ServerProcess) -> None:
    assert one(infer_json(served, "streams", {"inputs": []}))["data"] == [-1]


def test_plain_functions_are_models_as_well(served: ServerProcess) -> None:
    wanted = {**tensor("x", "INT64", [2, 1], [1, 2]), "parameters": {"content_type": "np"}}
    assert one(infer_json(served, "plain", {"inputs": [wanted]}))["data"] == [2, 3]


def test_the_binary_extension(served: ServerProcess) -> None:
    with triton_http.InferenceServerClient(served.http) as client:
        array = np.arange(6, dtype=np.float32).reshape(3, 2)
        result = client.infer("meta", [one_input("x", array, "FP32")])
        np.testing.assert_array_equal(result.as_numpy("output-1"), array)
        assert result.get_response()["parameters"] == {"content_type": "np"}


def test_binary_and_json_inputs_together(served: ServerProcess) -> None:
    header = json.dumps(
        {
            "inputs": [
                {"name": "a", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8, "p": 1}},
                tensor("s", "BYTES", [2], ["x", "y"]),
            ]
        }
    ).encode()
    body = header + np.array([1, 2], np.float32).tobytes()
    path = "/v2/models/decoded/infer"
    answer = ask(served, "POST", path, body, {"Inference-Header-Content-Length": str(len(header))})
    assert one(answer)["data"] == [2.0, 4.0]
    assert one(answer, 1)["data"] == ["x", "y", "x", "y"]
    short = ask(served, "POST", path, body[:-1], {"Inference-Header-Content-Length": str(len(header))})
    assert short.status == 400
    assert "binary_data_size" in short.error


def test_a_large_body_and_large_parameters(served: ServerProcess) -> None:
    array = np.arange(200_000, dtype=np.float64)
    own = {"long": "x" * 300_000}
    output = echoed(served, "FP64", [200_000], array.tolist(), parameters=own)
    assert output["parameters"] == own
    assert output["data"] == array.tolist()


def test_a_model_that_is_not_ready_does_not_load(served: ServerProcess, repository: Path) -> None:
    write_runtime(repository, "never", "runtimes.NeverReady")
    write_runtime(repository, "absent", "runtimes.Absent")
    never = ask(served, "POST", "/v2/repository/models/never/load")
    assert never.status == 400
    assert "not ready" in never.error
    absent = ask(served, "POST", "/v2/repository/models/absent/load")
    assert "has no 'Absent'" in absent.error


def test_what_models_tell_mlservers_logger(served: ServerProcess) -> None:
    assert infer_json(served, "logs", {"id": "first", "inputs": []}).status == 200
    assert re.match(r"I.*\blogs.*runtimes\.py:\d+: info first$", served.wait_log("info first"))
    assert served.wait_log("warning first").startswith("W")
    set_logging(served, {"log_verbose_level": 1, "log_info": False})
    assert infer_json(served, "logs", {"id": "second", "inputs": []}).status == 200
    assert served.wait_log("debug second").startswith("V")
    served.wait_log("warning second")
    set_logging(served, {"log_verbose_level": 0, "log_info": True, "log_warning": False})
    assert infer_json(served, "logs", {"id": "third", "inputs": []}).status == 200
    served.wait_log("info third")
    assert not any(said in line for line in served.lines for said in ("debug first", "info second", "warning third"))
    set_logging(served, {"log_warning": True})


def set_logging(server: ServerProcess, changes: dict[str, Any]) -> None:
    assert ask(server, "POST", "/v2/logging", json.dumps(changes).encode()).status == 200
