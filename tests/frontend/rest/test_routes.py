import base64
import json
from typing import Any

import pytest

from pyserver.errors import ErrorCode, ServerError, unavailable

NOT_FOUND = {"error": "Not Found"}
BAD_METHOD = {"error": "Method Not Allowed"}


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
async def test_health(world: Any, path: str) -> None:
    answer = await world.ask("GET", path)
    what = path.rpartition("/")[2]
    assert (answer.status, answer.json) == (200, {what: True})
    world.data_plane.alive = world.data_plane.is_ready = False
    answer = await world.ask("GET", path)
    assert (answer.status, answer.json) == (400, {what: False})


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v2", {"name": "triton", "version": "0", "extensions": []}),
        ("/v2?x=1", {"name": "triton", "version": "0", "extensions": []}),
        ("/v2/models/m", {"name": "m", "versions": ["1"], "asked": ""}),
        ("/v2/models/m/versions/1", {"name": "m", "versions": ["1"], "asked": "1"}),
        ("/v2/models/m/versions/001", {"name": "m", "versions": ["1"], "asked": "1"}),
        ("/v2/models/m/config", {"name": "ä"}),
        ("/v2/models/m/versions/1/config", {"name": "ä"}),
        ("/v2/models/stats", {"model_stats": [{"name": "", "version": ""}]}),
        ("/v2/models/m/stats", {"model_stats": [{"name": "m", "version": ""}]}),
        ("/v2/models/m/versions/1/stats", {"model_stats": [{"name": "m", "version": "1"}]}),
    ],
)
async def test_documents(world: Any, path: str, document: Any) -> None:
    answer = await world.ask("GET", path)
    assert (answer.status, answer.json) == (200, document)
    # Nothing but these: no Server, no Date, no Etag.
    assert answer.headers == {"content-type": "application/json", "content-length": str(len(answer.body))}


async def test_documents_are_compact(world: Any) -> None:
    assert (await world.ask("GET", "/v2/models/m")).body == b'{"name":"m","versions":["1"],"asked":""}'


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/m/ready", 200),
        ("/v2/models/m/versions/1/ready", 200),
        ("/v2/models/m/versions/2/ready", 400),
        ("/v2/models/nn/ready", 400),
    ],
)
async def test_model_ready(world: Any, path: str, status: int) -> None:
    answer = await world.ask("GET", path)
    assert answer.status == status
    assert answer.body == (b"" if status == 200 else b'{"error":"Model version not ready: it died"}')


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v2/models/nn", 404, "Request for unknown model: 'nn' is not found"),
        ("/v2/models/nn/config", 404, "Request for unknown model: 'nn' is not found"),
        ("/v2/models/m/versions/7", 404, "Request for unknown model: 'm' version 7 is not found"),
        ("/v2/models/nn/stats", 400, "requested model 'nn' is not available"),
        ("/v2/models/ech%6f", 404, "unknown model: 'ech%6f'"),
        ("/v2/models/a%2Fb", 404, "unknown model: 'a%2Fb'"),
        ("/v2/models/%00", 404, "unknown model: '%00'"),
        (
            "/v2/models/m/versions/99999999999999999999",
            400,
            "failed to get model version from specified version string",
        ),
        ("/v2/models/m/versions/99999999999999999999/ready", 400, "should be an integral value > 0"),
    ],
)
async def test_refused(world: Any, path: str, status: int, words: str) -> None:
    answer = await world.ask("GET", path)
    assert answer.status == status
    assert words in answer.error


@pytest.mark.parametrize(
    "path",
    [
        "/v1", "/v2/", "/v2/models", "/v2/models/", "/v2/models/m/", "/v2/models/m/versions", "/v2/models/m/x",
        "/v2/models/m/versions/abc", "/v2/models/m/versions/-1", "/v2/models/m/versions/1/x", "//v2", "/V2",
        "/v2/health", "/v2/health/live/", "/v2/models//ready", "/v2/repository", "/v2/repository/index/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_other_paths(world: Any, method: str, path: str) -> None:
    answer = await world.ask(method, path, b"" if method == "POST" else None)
    assert (answer.status, answer.json) == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2"), ("POST", "/v2/health/live"), ("PUT", "/v2/models/m"), ("DELETE", "/v2/models/m"),
        ("GET", "/v2/models/m/infer"), ("GET", "/v2/repository/index"), ("GET", "/v2/repository/models/m/load"),
        ("PATCH", "/v2/models/m/infer"), ("OPTIONS", "/v2"),
    ],
)  # fmt: skip
async def test_other_methods(world: Any, method: str, path: str) -> None:
    client = await world.connect()
    answer = await client.ask(method, path, b"")
    assert (answer.status, answer.json) == (405, BAD_METHOD)
    assert (await client.ask("GET", "/v2")).status == 200


async def test_a_method_that_http_does_not_know(world: Any) -> None:
    answer = await world.ask("BREW", "/v2")
    assert answer.status in (400, 405)
    assert answer.error


@pytest.mark.parametrize(("path", "status"), [("/v2", 405), ("/v2/health/live", 405), ("/nope", 404)])
async def test_head_is_no_get(world: Any, path: str, status: int) -> None:
    client = await world.connect()
    assert (await client.ask("HEAD", path)).status == status
    assert (await client.ask("GET", "/v2")).status == 200


@pytest.mark.parametrize(
    ("body", "ready"), [(None, False), (b"", False), (b'{"ready":true}', True), (b'{"ready":false}', False)]
)
@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/any/index"])
async def test_index(world: Any, path: str, body: bytes | None, ready: bool) -> None:
    answer = await world.ask("POST", path, body)
    assert answer.json == [{"name": "m", "version": "1", "state": "READY"}]
    assert world.control_plane.said == [("index", ready)]


async def test_load_and_unload(world: Any) -> None:
    client = await world.connect()
    # More than is decoded on the event loop itself.
    content = bytes(100_000)
    parameters = {"config": "{}", "file:1/model.py": base64.b64encode(content).decode()}
    body = json.dumps({"parameters": parameters}).encode()
    for path, sent in (("m/load", None), ("n/load", body), ("n/unload", b'{"parameters":{"unload_dependents":true}}')):
        answer = await client.ask("POST", f"/v2/repository/models/{path}", sent)
        assert (answer.status, answer.body) == (200, b"")
    assert world.control_plane.said == [
        ("load", "m", {}),
        ("load", "n", {"config": "{}", "file:1/model.py": content}),
        ("unload", "n", True),
    ]


@pytest.mark.parametrize("verb", ["load", "unload"])
async def test_repositories_have_no_names(world: Any, verb: str) -> None:
    answer = await world.ask("POST", f"/v2/repository/r/models/m/{verb}", b"")
    assert (answer.status, answer.error) == (501, "'repository_name' specification is not supported")
    assert world.control_plane.said == []


@pytest.mark.parametrize("path", ["index", "models/m/load", "models/m/unload"])
@pytest.mark.parametrize("body", [b"{", b"[1]", b'{"a":' * 100_000])
async def test_broken_control_bodies(world: Any, path: str, body: bytes) -> None:
    answer = await world.ask("POST", f"/v2/repository/{path}", body)
    assert answer.status == 400
    assert "failed to parse the request JSON buffer" in answer.error
    assert world.control_plane.said == []


async def test_a_load_that_fails(world: Any) -> None:
    world.control_plane.error = ServerError(ErrorCode.INVALID_ARG, "load failed for model 'm': ...")
    answer = await world.ask("POST", "/v2/repository/models/m/load", b"")
    assert (answer.status, answer.error) == (400, "load failed for model 'm': ...")


async def test_what_may_be_asked_again_says_when(world: Any) -> None:
    world.control_plane.error = unavailable("not now", 2.0)
    answer = await world.ask("POST", "/v2/repository/models/m/load", b"")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")


async def test_our_own_mistake_is_told_without_its_details(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    world.control_plane.error = RuntimeError("at /secret/path")
    answer = await world.ask("POST", "/v2/repository/models/m/load", b"")
    assert (answer.status, answer.error) == (500, "internal error: see the server's log")
    assert "/secret/path" in caplog.text


async def test_a_control_body_has_a_limit(start: Any) -> None:
    world = await start(http_max_input_size=100)
    answer = await world.ask("POST", "/v2/repository/index", b" " * 101)
    assert answer.status == 400
    assert "Use --http-max-input-size to increase the limit." in answer.error


async def test_a_form_is_a_body_like_any_other(world: Any) -> None:
    answer = await world.ask(
        "POST", "/v2/repository/index", b'{"ready":true}', Content_Type="application/x-www-form-urlencoded"
    )
    assert answer.status == 200
    assert world.control_plane.said == [("index", True)]
