from __future__ import annotations

import pytest

from pyserver.errors import ServerError
from pyserver.protocol.cors import Cors, parse

RULE = Cors(("http://a.example",), r"https://.*\.b\.example", allow_methods=("GET", "POST"), allow_headers=("X-A",))


def test_an_allowed_origin_is_named():
    assert RULE.headers("http://a.example") == [("Access-Control-Allow-Origin", "http://a.example"), ("Vary", "Origin")]
    assert RULE.headers("https://x.b.example")[0][1] == "https://x.b.example"
    for stranger in ("http://a.example.evil", "https://b.example", "https://x.b.example.evil", ""):
        assert RULE.headers(stranger) == []


def test_everybody():
    assert Cors(("*",)).headers("http://any") == [("Access-Control-Allow-Origin", "*")]
    with_credentials = Cors(("*",), allow_credentials=True, expose_headers=("Ce-Id",)).headers("http://any")
    assert with_credentials == [
        ("Access-Control-Allow-Origin", "http://any"),
        ("Vary", "Origin"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "Ce-Id"),
    ]


def test_preflights():
    status, headers, text = RULE.preflight("http://a.example", "POST", "content-type, X-a")
    assert (status, text) == (200, "OK")
    said = dict(headers)
    assert said["Access-Control-Allow-Methods"] == "GET, POST"
    assert said["Access-Control-Max-Age"] == "600"
    assert "X-A" in said["Access-Control-Allow-Headers"]
    assert RULE.preflight("http://no", "POST", "")[::2] == (400, "Disallowed CORS origin")
    assert RULE.preflight("http://a.example", "PUT", "x-b")[::2] == (400, "Disallowed CORS method, headers")
    everything = Cors(("*",), allow_methods=("*",), allow_headers=("*",)).preflight("http://any", "PUT", "x-any")
    assert everything[0] == 200
    assert ("Access-Control-Allow-Headers", "x-any") in everything[1]


def test_rules_are_read():
    assert parse("") is None
    assert parse('{"allow_origins":["*"],"max_age":5}') == Cors(("*",), max_age=5)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"origins":[]}', '{"allow_origins":"*"}', '{"allow_headers":[1]}', '{"allow_origin_regex":"("}'],
)
def test_what_is_no_rule(text):
    with pytest.raises(ServerError, match="http_cors"):
        parse(text)
