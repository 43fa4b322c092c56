"""Routes of MLServer models' own: `custom_handler`, over a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.clients import Answer, ask
from tests.support.runtimes import write_runtime
from tools.process import ServerProcess

pytestmark = pytest.mark.ours


@pytest.fixture(scope="module")
def served(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("mlserver")
    batching = "max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 1000 }"
    for name in ("first", "second"):
        write_runtime(repository, name, "handlers.Answers", config=batching)
    options = ("--model-control-mode=explicit", "--load-model=first", "--cache-config=local,size=1048576")
    with make_server(repository, options=options) as running:
        assert ask(running, "POST", "/v2/repository/models/second/load").status == 200
        yield running


def call(server: ServerProcess, path: str, value: Any = None, method: str = "POST", **headers: str) -> Answer:
    return ask(server, method, path, b"" if value is None else json.dumps(value).encode(), headers)


def test_a_body_is_the_annotated_object(served: ServerProcess) -> None:
    answer = call(served, "/answers", {"text": "ab", "times": 2})
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {"model": "first", "said": "abab"}


def test_plain_values_come_from_path_query_and_headers(served: ServerProcess) -> None:
    answer = call(served, "/answers/7?tag=%5B%5D", ["a", "b"], "GET", **{"X-User-Id": "me"})
    assert answer.json == [7, ["a", "b"], "me"]
    assert call(served, "/answers/8", method="GET").json == [8, None, "nobody"]
    assert call(served, "/summed?scale=2", [1, 2.5]).json == 7.0


def test_plain_values_of_every_kind(served: ServerProcess) -> None:
    plain = {"n": 7, "rest": "a/b", "kind": "small", "tags": None, "session": "", "doubled": 2}
    assert call(served, "/plain/7/a/b", method="GET").json == plain
    path = "/plain/7/a%20b/c?kind=large&tags=0&tags=1&tags=2&half=4"
    said = {"n": 7, "rest": "a b/c", "kind": "large", "tags": [1, 2], "session": "s 1", "doubled": 8}
    assert call(served, path, method="GET", Cookie='other=x; session="s 1"').json == said
    assert call(served, "/plain/seven/a", method="GET").status == 404


def test_an_object_by_its_name_and_one_that_may_be_missing(served: ServerProcess) -> None:
    assert call(served, "/embedded", {"question": {"text": "a"}}).json == {"text": "a", "times": 1}
    assert call(served, "/embedded", {"text": "a"}).status == 422
    assert call(served, "/perhaps").json == "nothing"
    assert call(served, "/perhaps", {"text": "a"}).json == "a"


def test_the_documents_have_the_routes(served: ServerProcess) -> None:
    whole, own = (ask(served, "GET", f"/v2{name}/docs/dataplane.json").json for name in ("", "/models/second"))
    for made, model in ((whole, "first"), (own, "second")):
        operation = made["paths"]["/plain/{number}/{rest}"]["get"]
        assert (operation["tags"], operation["summary"]) == ([model], "Values of every plain kind.")
        found = {each["name"]: (each["in"], each["required"]) for each in operation["parameters"]}
        assert found == {
            "number": ("path", True), "rest": ("path", True), "kind": ("query", False), "tags": ("query", False),
            "session": ("cookie", False), "half": ("query", False), "least": ("query", False),
        }  # fmt: skip
        question = f"#/components/schemas/{model}.Question"
        least = next(each["schema"] for each in operation["parameters"] if each["name"] == "least")
        assert (least["minimum"], least["exclusiveMinimum"]) == (0, True)
        body = made["paths"]["/answers"]["post"]["requestBody"]
        assert (body["required"], body["content"]["application/json"]["schema"]["required"]) == (True, ["text"])
        embedded = made["paths"]["/embedded"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert embedded["properties"]["question"]["required"] == ["text"]
        assert made["components"]["schemas"][f"{model}.Question"]["required"] == ["text"]
        perhaps = made["paths"]["/perhaps"]["post"]["requestBody"]
        assert not perhaps["required"]
        assert perhaps["content"]["application/json"]["schema"] == {"nullable": True, "allOf": [{"$ref": question}]}
        text = json.dumps(made)
        assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) <= set(made["components"]["schemas"])
        assert '"null"' not in text, "OpenAPI 3.0 has no such type"
    assert {"get"} == set(whole["paths"]["/answers/{number}"]), "one of two models has it"


def test_two_objects_by_name_and_an_answer_with_status_and_headers(served: ServerProcess) -> None:
    answer = call(served, "/prepared", {"one": {"text": "a"}, "two": {"text": "b"}}, "PUT")
    assert (answer.status, answer.headers["x-made"]) == (201, "here")
    assert answer.json == {"one": {"text": "a", "times": 1}, "two": "b"}


def test_mlservers_types_are_objects_too(served: ServerProcess) -> None:
    value = {"id": "7", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.5]}]}
    assert call(served, "/echoed", value).json == {"model_name": "first", "id": "7", "outputs": []}


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/answers", b'{"text": "a", "times": "x"}', {"type": "int_parsing", "loc": ["body", "times"]}),
        ("/answers", b"{}", {"type": "missing", "loc": ["body", "text"]}),
        ("/answers", b"", {"type": "missing", "loc": ["body"]}),
        ("/answers", b"[" * 100_000, {"type": "json_invalid", "loc": ["body"]}),
        ("/answers", b"{nonsense", {"type": "json_invalid", "loc": ["body"]}),
        ("/summed?scale=much", b"[1]", {"type": "float_parsing", "loc": ["query", "scale"]}),
        ("/plain/7/a?least=0", b"", {"type": "greater_than", "loc": ["query", "least"]}),
        ("/plain/7/a?kind=huge", b"", {"type": "enum", "loc": ["query", "kind"]}),
        ("/plain/7/a?half=x", b"", {"type": "int_parsing", "loc": ["query", "half"]}),
    ],
)
def test_what_does_not_fit_is_422(served: ServerProcess, path: str, body: bytes, detail: dict[str, Any]) -> None:
    answer = ask(served, "GET" if path.startswith("/plain") else "POST", path, body)
    assert answer.status == 422, answer
    assert {key: answer.json["detail"][0][key] for key in detail} == detail


def test_what_a_handler_raises(served: ServerProcess) -> None:
    answer = call(served, "/broken", method="GET")
    assert (answer.status, answer.json) == (404, {"error": "no such thing"})
    answer = call(served, "/broken?mine=true", method="GET")
    assert (answer.status, answer.json) == (500, {"error": "builtins.RuntimeError: out of paper"})


def test_another_method_is_405(served: ServerProcess) -> None:
    answer = call(served, "/answers", method="GET")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_a_route_goes_with_its_model_and_the_next_has_it(served: ServerProcess) -> None:
    for unloaded, left in (("first", "second"), ("second", None)):
        assert ask(served, "POST", f"/v2/repository/models/{unloaded}/unload").status == 200
        answer = call(served, "/answers", {"text": "a"})
        assert answer.json == {"model": left, "said": "a"} if left else answer.status == 404
    for name in ("first", "second"):
        assert ask(served, "POST", f"/v2/repository/models/{name}/load").status == 200
    assert call(served, "/answers", {"text": "a"}).status == 200


def test_a_large_body(served: ServerProcess) -> None:
    assert call(served, "/summed", [1] * 200_000).json == 200_000.0
