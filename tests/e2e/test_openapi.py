"""The documents of a real server's models: their examples are asked as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.clients import ask
from tests.support.repositories import EXAMPLES, MODELS, write_model
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

REFUSING = {"failing", "crashing"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def document(server: ServerProcess, path: str) -> Any:
    answer = ask(server, "GET", f"{path}/docs/dataplane.json")
    assert answer.status == 200, answer
    return answer.json


def examples(made: Any) -> list[tuple[str, Any]]:
    """Path and body of every request that a document says how to make."""
    return [
        (path, content["example"])
        for path, item in made["paths"].items()
        if "post" in item and "{" not in path
        for content in [item["post"]["requestBody"]["content"]["application/json"]]
        if "example" in content
    ]


def test_every_example_of_every_model_is_answered(serve: Serve, server: ServerProcess) -> None:
    pressed = set()
    for each in (server, serve(EXAMPLES / "models")):
        made = document(each, "/v2")
        infer = made["paths"]["/v2/models/{model_name}/infer"]
        for name in set(infer["parameters"][0]["schema"]["enum"]) - REFUSING:
            pressed.add(name)
            version = ask(each, "GET", f"/v2/models/{name}").json["versions"][-1]
            own, versioned = (document(each, f"/v2/models/{name}{v}") for v in ("", f"/versions/{version}"))
            wanted = [*examples(own), *examples(versioned)]
            assert len(wanted) == 6, name
            for path, body in wanted:
                answer = ask(each, "POST", path, json.dumps(body).encode())
                assert answer.status == 200, (path, body, answer)
            value = infer["post"]["requestBody"]["content"]["application/json"]["examples"][name]["value"]
            assert ask(each, "POST", f"/v2/models/{name}/infer", json.dumps(value).encode()).status == 200
    assert {"add_sub", "auto_complete", "strings", "identity"} <= pressed


def test_a_model_that_is_not_there(server: ServerProcess) -> None:
    for path in ("/v2/models/nope/docs", "/v2/models/nope/docs/dataplane.json", "/v2/models/add_sub/versions/7/docs"):
        answer = ask(server, "GET", path)
        assert (answer.status, "Request for unknown model" in answer.error) == (404, True)


def test_the_page_takes_nothing_from_elsewhere(server: ServerProcess) -> None:
    for path, title in (
        ("/v2/docs", "API Docs"),
        ("/v2/models/add_sub/docs", "API Docs - add_sub"),
        ("/v2/models/add_sub/versions/1/docs", "API Docs - add_sub (1)"),
    ):
        answer = ask(server, "GET", path)
        page = answer.body.decode()
        assert f"<title>{title}</title>" in page
        assert "http" not in page
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        for place in re.findall(r'(?:src|href)="([^"]+)"', page):
            target = os.path.normpath(os.path.join(os.path.dirname(path), place))
            assert ask(server, "GET", target).status == 200, target
    assert ask(server, "GET", "/v2/docs/assets/index.html").status == 404
    assert ask(server, "GET", "/v2/docs/assets/..%2F__init__.py").status == 404


@pytest.mark.heavy
def test_a_request_is_sent_from_the_page(serve: Serve, tmp_path: Any) -> None:
    """In a real browser, offline but for the server: "Try it out", "Execute", and the answer is there."""
    playwright = pytest.importorskip("playwright.sync_api")
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"needs a browser: {', '.join(BROWSERS)}, or its path in CHROMIUM")
    shutil.copytree(MODELS / "add_sub", tmp_path / "add_sub")
    server = serve(tmp_path)
    asked: list[str] = []
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        try:
            page = running.new_page()
            page.on("request", lambda request: asked.append(request.url))
            page.goto(f"http://{server.http}/v2/models/add_sub/docs")
            infer = page.locator(".opblock-post", has=page.get_by_text("/v2/models/add_sub/infer", exact=True))
            infer.locator(".opblock-summary").click()
            infer.get_by_role("button", name="Try it out").click()
            infer.get_by_role("button", name="Execute").click()
            answer = infer.locator(".live-responses-table .response").first
            answer.wait_for(timeout=20_000)
            assert "200" in answer.locator(".response-col_status").inner_text()
            assert "OUTPUT0" in answer.inner_text()
        finally:
            running.close()
    assert f"http://{server.http}/v2/models/add_sub/infer" in asked
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {server.http}


def test_a_large_input_has_no_example_but_a_document(serve: Serve, tmp_path: Any) -> None:
    source = "class TritonPythonModel:\n    def execute(self, requests): return []\n"
    config = 'backend: "python"\ninput { name: "X" data_type: TYPE_FP32 dims: [ 3, 512, 512 ] }\n'
    write_model(tmp_path, "large", source, config + 'output { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] }')
    assert examples(document(serve(tmp_path), "/v2/models/large")) == []
