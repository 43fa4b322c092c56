"""Requests of pages from elsewhere, with leave and without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import ask
from tests.support.repositories import write_constant

pytestmark = pytest.mark.ours

RULE = json.dumps({"allow_origins": ["http://a.example"], "allow_methods": ["POST"], "allow_headers": ["x-a"]})
BODY = b'{"inputs":[{"name":"ASKED","datatype":"BOOL","shape":[1],"data":[true]}]}'
PATH = "/v2/models/constant/infer"
ALLOW = "access-control-allow-origin"


def test_pages_from_elsewhere(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "constant")
    server = serve(tmp_path, options=("--http-cors", RULE))
    allowed = ask(server, "POST", PATH, BODY, {"Origin": "http://a.example"})
    assert (allowed.status, allowed.headers[ALLOW]) == (200, "http://a.example")
    stranger = ask(server, "POST", PATH, BODY, {"Origin": "http://b.example"})
    assert stranger.status == 200
    assert ALLOW not in stranger.headers
    assert ALLOW not in ask(server, "POST", PATH, BODY).headers
    question = {"Origin": "http://a.example", "Access-Control-Request-Method": "POST"}
    answer = ask(server, "OPTIONS", PATH, headers={**question, "Access-Control-Request-Headers": "X-A"})
    assert (answer.status, answer.body, answer.headers[ALLOW]) == (200, b"OK", "http://a.example")
    refused = ask(server, "OPTIONS", PATH, headers={**question, "Origin": "http://b.example"})
    assert (refused.status, refused.body) == (400, b"Disallowed CORS origin")
    failed = ask(server, "POST", "/v2/models/nope/infer", BODY, {"Origin": "http://a.example"})
    assert failed.headers[ALLOW] == "http://a.example"


def test_nobody_is_let_in_unasked(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "constant")
    server = serve(tmp_path)
    answer = ask(server, "POST", PATH, BODY, {"Origin": "http://a.example"})
    assert answer.status == 200
    assert ALLOW not in answer.headers
