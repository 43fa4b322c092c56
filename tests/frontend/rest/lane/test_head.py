"""Heads: what they mean, and what is refused because two servers might disagree about it."""

from __future__ import annotations

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.rest.infer import InferHeaders
from pyserver.frontend.rest.lane.head import parse, refusal_of_length
from pyserver.frontend.rest.limits import Limits

LIMITS = Limits()


def block(*lines: str, line: str = "POST /v2/models/m/infer HTTP/1.1", host: str | None = "Host: a") -> bytes:
    return "\r\n".join([line, *([host] if host else []), *lines, "", ""]).encode("latin-1")


def test_an_inference() -> None:
    head = parse(
        block("content-LENGTH: 12", "Inference-Header-Content-Length:7", "X-Other: 1", "accept-encoding:  gzip "),
        LIMITS,
    )
    assert head.infer is not None
    assert head.infer._replace(fields=None) == InferHeaders("7", None, "gzip")
    assert (head.model_name, head.model_version) == ("m", "")
    assert (head.length, head.chunked, head.keep_alive, head.expects_continue) == (12, False, True, False)
    assert head.json_length() == 7


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("POST /v2/models/m/infer HTTP/1.1", ("m", "")),
        ("POST /v2/models/m/versions/007/infer HTTP/1.1", ("m", "7")),
        ("POST /v2/models/m%6f/infer?x=1 HTTP/1.1", ("m%6f", "")),
        ("POST /v2/models/stats/infer HTTP/1.1", ("stats", "")),
        ("POST http://b:80/v2/models/m/infer HTTP/1.1", ("m", "")),
        ("POST HTTPS://b/v2/models/m/infer?q HTTP/1.1", ("m", "")),
        ("POST /v2/models/m/infer/ HTTP/1.1", None),
        ("POST /v2/models//infer HTTP/1.1", None),
        ("POST /v2/models/m/n/infer HTTP/1.1", None),
        ("POST /v2/models/m/versions/x/infer HTTP/1.1", None),
        ("POST /v2/models/m/versions/99999999999999999999/infer HTTP/1.1", None),
        ("POST /v2/models/m/generate HTTP/1.1", None),
        ("POST /v2/models/m/infer#x HTTP/1.1", None),
        ("GET /v2/models/m/infer HTTP/1.1", None),
        ("HEAD /v2/models/m/infer HTTP/1.1", None),
        ("PUT /v2/models/m/infer HTTP/1.1", None),
    ],
)
def test_routes(line: str, expected: tuple[str, str] | None) -> None:
    head = parse(block(line=line), LIMITS)
    assert ((head.model_name, head.model_version) if head.infer is not None else None) == expected


def test_an_absolute_target_says_the_host() -> None:
    head = parse(block("X: 1", line="GET http://real:1/path?q HTTP/1.1", host="Host: other"), LIMITS)
    assert head.target == "/path?q"
    assert head.fields == [(b"Host", b"real:1"), (b"X", b"1")]
    assert parse(block(line="GET http://real HTTP/1.1"), LIMITS).target == "/"


@pytest.mark.parametrize(
    ("version", "connection", "expected"),
    [
        ("1.1", None, True),
        ("1.1", "keep-alive", True),
        ("1.1", "Close", False),
        ("1.1", "keep-alive, close", False),
        ("1.1", "Upgrade, HTTP2-Settings", True),
        ("1.0", None, False),
        ("1.0", "Keep-Alive", True),
        ("1.0", "close", False),
    ],
)
def test_persistence(version: str, connection: str | None, expected: bool) -> None:
    fields = [f"Connection: {connection}"] if connection else []
    head = parse(block(*fields, "Upgrade: h2c", line=f"GET / HTTP/{version}"), LIMITS)
    assert head.keep_alive is expected
    assert head.http_1_0 is (version == "1.0")


def test_expectations() -> None:
    assert parse(block("Expect: 100-Continue", "Content-Length: 1"), LIMITS).expects_continue
    assert not parse(block("Expect: something", "Content-Length: 1"), LIMITS).expects_continue
    assert not parse(block("Expect: 100-continue", line="GET / HTTP/1.0"), LIMITS).expects_continue


SMUGGLING = {
    "both lengths": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "both lengths, turned": ["Transfer-Encoding: chunked", "Content-Length: 5"],
    "zero and chunked": ["Content-Length: 0", "Transfer-Encoding: chunked"],
    "two lengths": ["Content-Length: 5", "Content-Length: 6"],
    "equal lengths": ["Content-Length: 5", "content-length: 5"],
    "a list of lengths": ["Content-Length: 5, 5"],
    "signed": ["Content-Length: +5"],
    "negative": ["Content-Length: -5"],
    "hexadecimal": ["Content-Length: 0x5"],
    "underscore": ["Content-Length: 1_0"],
    "two numbers": ["Content-Length: 5 5"],
    "fraction": ["Content-Length: 5.0"],
    "no number": ["Content-Length: "],
    "words": ["Content-Length: five"],
    "superscript": ["Content-Length: \xb2"],
    "very long": ["Content-Length: 99999999999999999999"],
    "space before the colon": ["Content-Length : 5"],
    "tab before the colon": ["Content-Length\t: 5"],
    "two codings": ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    "chunked twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "chunked twice in a list": ["Transfer-Encoding: chunked, chunked"],
    "unknown coding": ["Transfer-Encoding: xchunked"],
    "gzip first": ["Transfer-Encoding: gzip, chunked"],
    "identity": ["Transfer-Encoding: identity"],
    "quoted": ['Transfer-Encoding: "chunked"'],
    "empty coding": ["Transfer-Encoding:"],
    "vertical tab": ["Transfer-Encoding: \x0bchunked"],
    "folded": ["Transfer-Encoding:", " chunked"],
    "folded value": ["X: a", "\tb"],
    "bare CR": ["X: a\rContent-Length: 5"],
    "bare LF": ["X: a\nContent-Length: 5"],
    "NUL": ["X: a\0b"],
    "no colon": ["X"],
    "no name": [": x"],
    "space in a name": ["X Y: 1"],
    "two hosts": ["Host: b"],
    "two header lengths": ["Inference-Header-Content-Length: 1", "Inference-Header-Content-Length: 2"],
    "two content encodings": ["Content-Encoding: gzip", "Content-Encoding: identity"],
}


@pytest.mark.parametrize("fields", SMUGGLING.values(), ids=SMUGGLING)
def test_what_is_ambiguous_is_refused(fields: list[str]) -> None:
    with pytest.raises(ServerError) as caught:
        parse(block(*fields), LIMITS)
    assert caught.value.code is ErrorCode.INVALID_ARG


@pytest.mark.parametrize(
    "line",
    [
        "POST /x HTTP/1.2",
        "POST /x HTTP/2.0",
        "POST /x HTTP/0.9",
        "POST /x HTTP/11",
        "POST /x",
        "POST  HTTP/1.1",
        "GET /x y HTTP/1.1",
        "GET /x  HTTP/1.1",
        "GET  /x HTTP/1.1",
        "GET /x RTSP/1.0",
        "PRI * HTTP/2.0",
        "FOO /x HTTP/1.1",
        "get /x HTTP/1.1",
        "GET x HTTP/1.1",
        "GET\t/x HTTP/1.1",
        " GET /x HTTP/1.1",
        "GET /x\x7f HTTP/1.1",
        "GET /\xff HTTP/1.1",
        "GET /x http/1.1",
        "",
    ],
)
def test_request_lines_that_are_none(line: str) -> None:
    with pytest.raises(ServerError):
        parse(block(line=line), LIMITS)


def test_a_host_is_needed() -> None:
    with pytest.raises(ServerError, match="Host"):
        parse(block(host=None), LIMITS)
    assert parse(block(host=None, line="GET / HTTP/1.0"), LIMITS).target == "/"


def test_http_1_0_has_no_chunks() -> None:
    with pytest.raises(ServerError, match=r"HTTP/1\.0"):
        parse(block("Transfer-Encoding: chunked", line="POST / HTTP/1.0"), LIMITS)


def test_limits() -> None:
    small = Limits(max_header_size=200, max_headers=3, max_request_line=60, max_body_size=100, max_input_size=50)
    with pytest.raises(ServerError, match="--http-max-header-size"):
        parse(block("X: " + "a" * 200), small)
    with pytest.raises(ServerError, match=r"4 headers, .* 3"):
        parse(block("A: 1", "B: 1", "C: 1"), small)
    with pytest.raises(ServerError, match=r"request line of 7[0-9] bytes"):
        parse(block(line=f"GET /{'a' * 60} HTTP/1.1"), small)
    for fields, flag in [
        (["Content-Length: 101"], "--http-max-body-size"),
        (["Content-Length: 51"], "--http-max-input-size"),
        (["Content-Length: 90", "Inference-Header-Content-Length: 51"], "--http-max-input-size"),
        (["Content-Length: 90", "Inference-Header-Content-Length: 0"], "--http-max-input-size"),
    ]:
        refused = refusal_of_length(parse(block(*fields), small), small)
        assert refused is not None
        assert flag in refused.message
    for fields in (["Content-Length: 100", "Inference-Header-Content-Length: 50"], ["Content-Length: 50"]):
        assert refusal_of_length(parse(block(*fields), small), small) is None
