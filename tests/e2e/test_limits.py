"""Every limit of the REST front end, each over its edge with a real server: a clear 4xx that names the flag."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import tensor
from tests.support.raw import Raw
from tests.support.repositories import MODELS
from tools.process import ServerProcess

pytestmark = pytest.mark.ours
KIB = 1024
GOOD = json.dumps({"inputs": [tensor(name, "FP32", [4], [1, 2, 3, 4]) for name in ("INPUT0", "INPUT1")]}).encode()
OPTIONS = (
    "--model-control-mode=explicit", "--load-model=add_sub", "--load-model=identity",
    "--http-max-header-size=4096", "--http-max-headers=20", "--http-max-body-size=200000",
    "--http-max-input-size=50000", "--http-max-chunks=50", "--http-max-json-depth=10", "--max-load-size=1000",
    "--http-max-connections=20", "--http-header-timeout-secs=1", "--http-read-timeout-secs=1",
    "--http-body-timeout-secs=4",
)  # fmt: skip


@pytest.fixture(scope="module")
def limited(make_server: Serve) -> Iterator[ServerProcess]:
    with make_server(MODELS, options=OPTIONS) as running:
        yield running


def post(path: str, body: bytes, *fields: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: a", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(path: str, body: bytes, size: int) -> bytes:
    cut = [body[at : at + size] for at in range(0, len(body), size)]
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in cut) + b"0\r\n\r\n"


INFER = "/v2/models/add_sub/infer"
GENERATE = "/v2/models/add_sub/generate"
LOAD = "/v2/repository/models/add_sub/load"
PADDED = GOOD[:-1] + b" " * 60_000 + b"}"
DEEP = b'{"inputs":' + b"[" * 11 + b"]" * 11 + b"}"
FILES = json.dumps({"parameters": {"config": "{}", "file:1/model.py": base64.b64encode(bytes(2000)).decode()}}).encode()
OVER: dict[str, tuple[bytes, str]] = {
    "header bytes": (post(INFER, GOOD, "X: " + "a" * 5000), "--http-max-header-size"),
    "header bytes without end": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 5000, "--http-max-header-size"),
    "header count": (post(INFER, GOOD, *(f"X{n}: 1" for n in range(20))), "--http-max-headers"),
    "body": (post(INFER, bytes(200_001)), "--http-max-body-size"),
    "body of another route": (post(LOAD, bytes(200_001)), "--http-max-body-size"),
    "chunked body": (chunked(INFER, bytes(200_001), 20_000), "--http-max-body-size"),
    "chunked body of another route": (chunked(LOAD, bytes(200_001), 20_000), "--http-max-body-size"),
    "chunk count": (chunked(INFER, GOOD, 2), "--http-max-chunks"),
    "chunk count of another route": (chunked(LOAD, GOOD, 2), "--http-max-chunks"),
    "JSON": (post(INFER, PADDED), "--http-max-input-size"),
    "JSON of generate": (post(GENERATE, PADDED), "--http-max-input-size"),
    "JSON of index": (post("/v2/repository/index", PADDED), "--http-max-input-size"),
    "inflated gzip": (post(INFER, gzip.compress(PADDED), "Content-Encoding: gzip"), "--http-max-input-size"),
    "inflated deflate": (post(INFER, zlib.compress(PADDED), "Content-Encoding: deflate"), "--http-max-input-size"),
    "JSON depth": (post(INFER, DEEP), "--http-max-json-depth"),
    "JSON depth of generate": (post(GENERATE, DEEP), "--http-max-json-depth"),
    "JSON depth of index": (post("/v2/repository/index", DEEP), "--http-max-json-depth"),
    "JSON depth of load": (post(LOAD, DEEP), "--http-max-json-depth"),
    "files of a load": (post(LOAD, FILES), "--max-load-size"),
}


@pytest.mark.parametrize(("request_", "flag"), OVER.values(), ids=OVER)
def test_over_a_limit(limited: ServerProcess, request_: bytes, flag: str) -> None:
    with Raw(limited) as raw:
        raw.send(request_)
        status, body = raw.answer()
    assert status == 400, body
    assert flag in json.loads(body)["error"]


def test_within_every_limit(limited: ServerProcess) -> None:
    with Raw(limited) as raw:
        for request in (
            post(INFER, GOOD, *(f"X{n}: {'a' * 150}" for n in range(17))),
            chunked(INFER, GOOD, 1 + len(GOOD) // 48),
            post(INFER, gzip.compress(GOOD[:-1] + b" " * 49_000 + b"}"), "Content-Encoding: gzip"),
        ):
            raw.send(request)
            assert raw.answer()[0] == 200


def test_connections(limited: ServerProcess) -> None:
    with ExitStack() as stack:
        kept = [stack.enter_context(Raw(limited)) for _ in range(20)]
        for raw in kept:
            raw.send(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert raw.answer()[0] == 200
        refused = stack.enter_context(Raw(limited))
        status, body = refused.answer()
        assert status == 503
        assert b"--http-max-connections" in body
        assert refused.closed_within(5)
    with Raw(limited) as again:
        again.send(post(INFER, GOOD))
        status, body = again.answer()
    assert status in (200, 503)  # the server may not have seen the others go yet


SLOW: dict[str, tuple[bytes, str]] = {
    "head": (b"GET /v2 HTTP/1.1\r\nHost: ", "--http-header-timeout-secs"),
    "body": (post(INFER, GOOD)[:-10], "--http-read-timeout-secs"),
    "large body": (post("/v2/models/identity/infer", bytes(100_000), "Inference-Header-Content-Length: 99")[:300],
                   "--http-read-timeout-secs"),
    "chunked body": (chunked(INFER, GOOD, 20)[:-20], "--http-read-timeout-secs"),
    "body of another route": (post(LOAD, FILES)[:-10], "--http-read-timeout-secs"),
}  # fmt: skip


def test_slow_clients_are_told_and_closed(limited: ServerProcess) -> None:
    """A byte now and then is no progress. All at once, for they all take as long."""
    with ExitStack() as stack:
        slow = {name: stack.enter_context(Raw(limited)) for name in SLOW}
        for name, raw in slow.items():
            raw.send(SLOW[name][0])
        for name, raw in slow.items():
            status, body = raw.answer()
            assert status == 400, (name, body)
            assert SLOW[name][1] in json.loads(body)["error"], name
            assert raw.closed_within(5), name


def test_a_client_that_takes_no_answer_is_cut_off(limited: ServerProcess) -> None:
    shape = 64 * KIB
    head = json.dumps(
        {
            "inputs": [{"name": "UINT8", "datatype": "UINT8", "shape": [1, shape],
                        "parameters": {"binary_data_size": shape}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()  # fmt: skip
    request = post("/v2/models/identity/infer", head + bytes(shape), f"Inference-Header-Content-Length: {len(head)}")
    with Raw(limited, timeout=3) as raw:
        raw.socket.setblocking(False)
        sent = 0
        while sent < 400:  # until neither side's buffers hold any more
            try:
                raw.socket.sendall(request)
            except BlockingIOError:
                break
            sent += 1
        limited.wait_until(lambda: _open(limited, raw) == 0, 15, "to cut off a client that doesn't read")


def _open(server: ServerProcess, raw: Raw) -> int:
    """How many of the server's sockets are connected to this client."""
    port = raw.socket.getsockname()[1]
    peer = f":{port:04X} "
    lines = [line.split() for line in Path(f"/proc/{server.pid}/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[2].endswith(peer.strip()) and fields[3] == "01" for fields in lines)
