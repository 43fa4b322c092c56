from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pyserver.protocol.openapi import document, example
from pyserver.protocol.openapi.document import Described


def tensor(name: str, datatype: str, *shape: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), **more}


def described(*inputs: dict[str, Any], **config: Any) -> Described:
    outputs = [tensor("y", "FP32", -1)]
    return Described("m", {"name": "m", "inputs": list(inputs), "outputs": outputs}, config)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


DECOUPLED = {"model_transaction_policy": {"decoupled": True}}
MODEL = described(tensor("x", "FP32", -1, 3))


@pytest.mark.parametrize(
    "made",
    [
        document.of_server([]),
        document.of_server([MODEL, described(**DECOUPLED)], "/below"),
        document.of_model(MODEL),
        document.of_model(MODEL, "v1"),
        document.of_model(described(**DECOUPLED), "1", "/below"),
    ],
)
def test_every_reference_leads_somewhere_and_every_placeholder_is_a_parameter(made: dict[str, Any]) -> None:
    json.dumps(made, allow_nan=False)
    known = {f"#/components/schemas/{name}" for name in made["components"]["schemas"]}
    assert set(references(made)) <= known
    for path, item in made["paths"].items():
        wanted = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        assert {parameter["name"] for parameter in item.get("parameters", [])} == wanted, path


def test_titles_and_servers() -> None:
    assert document.of_server([])["info"] == {"title": "Data Plane", "version": "2.0"}
    assert document.of_model(MODEL)["info"]["title"] == "Data Plane for Model m"
    assert document.of_model(MODEL, "v1")["info"]["title"] == "Data Plane for Model m (v1)"
    assert document.of_server([])["servers"] == [{"url": "/"}]
    assert document.of_server([], "/below")["servers"] == [{"url": "/below"}]


def test_a_model_s_document_has_both_forms_and_a_version_s_its_own_alone() -> None:
    both = document.of_model(MODEL)["paths"]
    assert "/v2/models/m/infer" in both
    assert "/v2/models/m/versions/{model_version}/infer" in both
    one = document.of_model(MODEL, "v1")["paths"]
    assert {path.startswith("/v2/models/m/versions/v1") for path in one} == {True}


def test_the_schema_names_the_inputs() -> None:
    operation = document.of_model(MODEL)["paths"]["/v2/models/m/infer"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    (found,) = content["schema"]["properties"]["inputs"]["items"]["anyOf"]
    assert found["title"] == "x: FP32 [any, 3]"
    assert found["properties"]["name"]["enum"] == ["x"]
    assert (found["properties"]["shape"]["minItems"], found["properties"]["shape"]["maxItems"]) == (2, 2)
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["properties"]["outputs"]["items"]["anyOf"][0]["title"] == "y: FP32 [any]"
    assert content["example"] == {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [0.0] * 3}]}


def test_examples() -> None:
    made = example.request(
        {
            "inputs": [
                tensor("text", "BYTES", -1, 1, parameters={"content_type": "str"}),
                tensor("flag", "BOOL", 2),
                tensor("count", "UINT8", 1),
                tensor("half", "BF16", 1),
                tensor("maybe", "FP32", 1),
            ]
        },
        {"input": [{"name": "maybe", "optional": True}], "sequence_batching": {}},
    )
    assert made == {
        "inputs": [
            {"name": "text", "shape": [1, 1], "datatype": "BYTES", "parameters": {"content_type": "str"}, "data": [""]},
            {"name": "flag", "shape": [2], "datatype": "BOOL", "data": [False, False]},
            {"name": "count", "shape": [1], "datatype": "UINT8", "data": [0]},
            {"name": "half", "shape": [1], "datatype": "BF16", "data": [0.0]},
        ],
        "parameters": {"sequence_id": 1, "sequence_start": True, "sequence_end": True},
    }


def test_a_model_without_inputs_gets_a_guess() -> None:
    assert example.request({}, {}) == {"inputs": [{"name": "input-0", "shape": [1], "datatype": "FP32", "data": [0.0]}]}


def test_what_is_too_large_has_no_example() -> None:
    large = described(tensor("x", "FP32", example.MOST_ELEMENTS + 1))
    assert example.request(large.metadata, {}) is None
    assert example.generation(large.metadata, {}) is None
    content = document.of_model(large)["paths"]["/v2/models/m/infer"]["post"]["requestBody"]["content"]
    assert "example" not in content["application/json"]


def test_what_generate_and_mlserver_s_streams_take() -> None:
    metadata = {"inputs": [tensor("a", "FP32", 1), tensor("b", "INT64", 2)]}
    assert example.generation(metadata, {"sequence_batching": {}}) == {"a": 0.0, "b": [0, 0], **example.SEQUENCE}
    theirs = document.of_model(described(tensor("x", "FP32", 1), backend="mlserver"))["paths"]
    assert "/v2/models/m/generate" not in theirs
    for path in ("infer_stream", "infer"):
        content = theirs[f"/v2/models/m/{path}"]["post"]["requestBody"]["content"]["application/json"]
        assert content["example"]["inputs"][0]["name"] == "x"


def test_a_decoupled_model_only_streams() -> None:
    paths = document.of_model(described(**DECOUPLED))["paths"]
    assert "/v2/models/m/generate_stream" in paths
    assert not any(path.endswith(("/infer", "/generate")) for path in paths)
