"""Requests that two servers in a row might read in two ways: 400, the connection ends, nothing behind is answered."""

from __future__ import annotations

import json

import pytest

from tests.support.clients import tensor
from tests.support.raw import Raw, statuses
from tools.process import ServerProcess

pytestmark = pytest.mark.ours
PATH = b"/v2/models/add_sub/infer"
BODY = json.dumps({"inputs": [tensor(name, "FP32", [4], [1, 2, 3, 4]) for name in ("INPUT0", "INPUT1")]}).encode()
SMUGGLED = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", line: bytes = b"POST " + PATH + b" HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: a", *fields, b"", b""]) + body


CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: %d" % len(BODY)
CHUNK = b"%x\r\n%b\r\n" % (len(BODY), BODY)
AMBIGUOUS: dict[str, bytes] = {
    "both lengths": post(LENGTH, CHUNKED, body=CHUNK + b"0\r\n\r\n"),
    "both lengths, chunked first": post(CHUNKED, b"Content-Length: 5", body=CHUNK + b"0\r\n\r\n"),
    "two lengths": post(LENGTH, b"Content-Length: 0", body=BODY),
    "the same length twice": post(LENGTH, LENGTH, body=BODY),
    "a list of lengths": post(LENGTH + b", 0", body=BODY),
    "a sign": post(b"Content-Length: +%d" % len(BODY), body=BODY),
    "negative": post(b"Content-Length: -1", body=BODY),
    "hexadecimal": post(b"Content-Length: 0x%x" % len(BODY), body=BODY),
    "a length of 400 digits": post(b"Content-Length: " + b"0" * 399 + b"5", body=BODY),
    "space before the colon": post(b"Content-Length : %d" % len(BODY), body=BODY),
    "a folded header": post(LENGTH, b"X: a", b" Transfer-Encoding: chunked", body=BODY),
    "a folded coding": post(b"Transfer-Encoding:", b" chunked", body=CHUNK + b"0\r\n\r\n"),
    "bare LF behind a header": post(b"X: a\nTransfer-Encoding: chunked", LENGTH, body=BODY),
    "bare LF alone": post(LENGTH, body=BODY).replace(b"\r\n", b"\n", 2),
    "bare CR": post(b"X: a\rTransfer-Encoding: chunked", LENGTH, body=BODY),
    "NUL": post(b"X: \0", LENGTH, body=BODY),
    "chunked twice": post(CHUNKED, CHUNKED, body=CHUNK + b"0\r\n\r\n"),
    "another coding": post(b"Transfer-Encoding: gzip, chunked", body=CHUNK + b"0\r\n\r\n"),
    "an odd coding": post(b"Transfer-Encoding: xchunked", LENGTH, body=BODY),
    "chunks in HTTP/1.0": post(CHUNKED, line=b"POST " + PATH + b" HTTP/1.0", body=CHUNK + b"0\r\n\r\n"),
    "a chunk that is longer than it says": post(CHUNKED, body=b"5\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a signed chunk": post(CHUNKED, body=b"+" + CHUNK + b"0\r\n\r\n"),
    "a chunk in 0x": post(CHUNKED, body=b"0x" + CHUNK + b"0\r\n\r\n"),
    "a huge chunk": post(CHUNKED, body=b"ffffffffffffffff\r\n" + BODY),
    "a chunk that ends in LF": post(CHUNKED, body=b"%x\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "a bare CR in an extension": post(CHUNKED, body=b"%x;a\rb\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "an endless extension": post(CHUNKED, body=b"%x;%b" % (len(BODY), b"a" * 10_000)),
    "a trailer that is none": post(CHUNKED, body=CHUNK + b"0\r\nGET / HTTP/1.1\r\n\r\n"),
    "two hosts": post(LENGTH, b"Host: b", body=BODY),
    "no host": b"POST " + PATH + b" HTTP/1.1\r\n" + LENGTH + b"\r\n\r\n" + BODY,
    "two spaces": post(LENGTH, body=BODY, line=b"POST  " + PATH + b" HTTP/1.1"),
    "space behind the version": post(LENGTH, body=BODY, line=b"POST " + PATH + b" HTTP/1.1 "),
    "another version": post(LENGTH, body=BODY, line=b"POST " + PATH + b" HTTP/1.2"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two header lengths": post(LENGTH, *[b"Inference-Header-Content-Length: 5"] * 2, body=BODY),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("request_", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_is_refused_and_ends_the_connection(server: ServerProcess, request_: bytes) -> None:
    with Raw(server) as raw:
        raw.send(request_ + SMUGGLED)
        answered = raw.to_the_end()
    assert statuses(answered) == [400], answered
    assert b"\r\nConnection: close\r\n" in answered


def test_what_is_behind_a_body_is_the_next_request(server: ServerProcess) -> None:
    with Raw(server) as raw:
        raw.send(post(LENGTH, body=BODY + b"trailing garbage\r\n\r\n") + SMUGGLED)
        answered = raw.to_the_end()
    assert statuses(answered) == [200, 400]


def test_what_is_odd_but_clear_is_taken(server: ServerProcess) -> None:
    with Raw(server) as raw:
        raw.send(post(CHUNKED, body=b"%x;name=value\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(BODY), BODY)))
        raw.send(b"\r\n" + post(b"CONTENT-LENGTH:%d  " % len(BODY), body=BODY))
        assert [raw.answer()[0], raw.answer()[0]] == [200, 200]


EXACT = [
    "/v2/", "//v2", "/v2//health/live", "/v2/health/live/", "/v2/health/./live", "/v2/models/../health/live",
    "/v2/health%2flive", "/v2%2Fhealth/live", "/v2/%68ealth/live", "/V2/health/live", "/v2/health/live;a=b",
    "/v2/models/add_sub%2f", "/v2/models/%61dd_sub", "/v2/models/..%2fadd_sub/config", "/v2/models/add_sub/config/",
    "/v2/models//add_sub", "/v2/models/add_sub//config", "/v2/models/add_sub/versions/1/../1/config",
    "/metrics", "/v2/models/add_sub/infer/",
]  # fmt: skip
OTHERS = {
    "/v2/repository/index": 405,
    "/v2/models/add_sub/versions/+1/config": 400,  # names of versions are MLServer's, numbers digits alone
    "/v2/models/add_sub/versions/1.0/config": 400,
}


@pytest.mark.parametrize("path", [*EXACT, *OTHERS])
def test_paths_are_matched_as_they_are_sent(server: ServerProcess, path: str) -> None:
    with Raw(server) as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        status, body = raw.answer()
    assert status == OTHERS.get(path, 404), body


@pytest.mark.parametrize("target", ["/v2/health/live?x=/../", "http://elsewhere/v2/health/live"])
def test_what_is_no_part_of_the_path(server: ServerProcess, target: str) -> None:
    with Raw(server) as raw:
        raw.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert raw.answer()[0] == 200
