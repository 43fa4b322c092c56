"""Where the bodies of requests go, without a socket; and which are refused before they come."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from pyserver.frontend.rest.lane.server import LaneServer
from pyserver.frontend.rest.limits import Limits
from tests.support.lane import settle

KIB = 1024


async def test_large_bodies_are_received_where_they_belong(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    for size, reserved in ((64 * KIB - 200, 0), (64 * KIB, 1), (300 * KIB, 1)):
        plane.reserved = 0
        plane.requests.clear()
        data = random.Random(size).randbytes(size)
        wired = wire()
        wired.feed(tools.infer(data) + tools.infer(b"next"))
        await settle()
        assert plane.reserved == reserved
        assert wired.sent.count(b"200 OK") == 2
        assert data in wired.sent
        assert wired.sent.endswith(b"next")
        assert (plane.requests[0].lease is not None) == bool(reserved)


async def test_the_limit_of_large_is_sharp(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    for total in (64 * KIB - 1, 64 * KIB, 64 * KIB + 1):
        plane.reserved = 0
        overhead = len(tools.infer_body(b"x" * (total - 200))[0]) - (total - 200)
        body, _ = tools.infer_body(b"y" * (total - overhead))
        assert len(body) == total
        wired = wire()
        wired.feed(tools.infer(b"y" * (total - overhead)))
        await settle()
        assert wired.sent.endswith(b"y" * (total - overhead))
        assert plane.reserved == (total >= 64 * KIB)


async def test_a_model_that_lends_nothing(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.lends = False
    data = random.Random(1).randbytes(200 * KIB)
    wired = wire()
    wired.feed(tools.infer(data), tools.infer(data, chunks=1000))
    await settle()
    assert wired.sent.count(data) == 2


async def test_nothing_is_copied_on_the_way_in(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    request = tools.infer(bytes(100 * KIB))
    wired = wire()
    wired.feed(request[:1000])
    before = len(wired.protocol.get_buffer(-1))
    assert before == len(request) - 1000
    wired.feed(request[1000:2000])
    assert len(wired.protocol.get_buffer(-1)) == before - 1000
    wired.feed(request[2000:])
    assert len(wired.protocol.get_buffer(-1)) == 64 * KIB
    await settle()


@pytest.mark.parametrize("chunks", [0, 500])
async def test_an_unknown_model_is_refused_before_its_body(
    chunks: int, wire: Any, plane: Any, tools: SimpleNamespace
) -> None:
    request = tools.infer(bytes(200 * KIB), model="nobody", chunks=chunks)
    wired = wire()
    wired.feed(request[:500])
    assert b"404 Not Found" in wired.sent
    wired.feed(request[500:] + tools.infer(b"fine"))
    await settle()
    assert wired.sent.count(b"HTTP/1.1 ") == 2
    assert wired.sent.endswith(b"fine")
    assert plane.reserved == 0


async def test_an_unknown_model_of_a_client_that_asks_first(wire: Any, tools: SimpleNamespace) -> None:
    wired = wire()
    wired.feed(tools.infer(b"abc", model="nobody", headers="Expect: 100-continue\r\n")[:-60])
    assert b"100 Continue" not in wired.sent
    assert b"404 Not Found" in wired.sent
    assert wired.transport.eof


async def test_the_client_is_asked_to_go_on(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    request = tools.infer(b"abcd", headers="Expect: 100-continue\r\n")
    head = request.index(b"\r\n\r\n") + 4
    wired = wire()
    wired.feed(tools.infer(b"first") + request[:head])
    assert wired.sent == b""  # its turn has not come
    plane.answer()
    await settle()
    assert wired.sent.endswith(b"firstHTTP/1.1 100 Continue\r\n\r\n")
    wired.feed(request[head:])
    plane.answer()
    await settle()
    assert wired.sent.endswith(b"abcd")
    assert wired.sent.count(b"100 Continue") == 1


@pytest.mark.parametrize("chunks", [0, 100])
async def test_too_large_a_body(chunks: int, lane: LaneServer, wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    lane.limits = Limits(max_body_size=100_000)
    wired = wire()
    wired.feed(tools.infer(bytes(200_000), chunks=chunks))
    assert b"400 Bad Request" in wired.sent
    assert b"--http-max-body-size" in wired.sent
    assert wired.transport.eof
    assert not plane.requests


async def test_an_unknown_model_whose_large_body_had_to_wait(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    wired = wire()
    wired.feed(tools.infer(b"first") + tools.infer(b"abc", headers="Expect: 100-continue\r\n")[:-3])
    wired.feed(b"abc" + tools.infer(bytes(80 * KIB), model="nobody") + tools.infer(b"last"))
    for _ in range(3):
        plane.answer()
        await settle()
    assert wired.sent.count(b"HTTP/1.1 200") == 3
    assert wired.sent.count(b"HTTP/1.1 404") == 1
    assert not wired.transport.eof


async def test_bad_bodies_leave_the_connection_alone(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    head = "POST /v2/models/echo/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
    wired = wire()
    wired.feed(f"{head}\r\n{{}}{head}Inference-Header-Content-Length: 3\r\n\r\n{{}}".encode())
    wired.feed(f"{head}Inference-Header-Content-Length: abc\r\n\r\n{{}}".encode() + tools.infer(b"fine"))
    await settle()
    assert b"inference header size should be in range (0, 2), got: 3" in wired.sent
    assert b"Unable to parse Inference-Header-Content-Length, got: abc" in wired.sent
    assert wired.sent.count(b"HTTP/1.1 4") + wired.sent.count(b"HTTP/1.1 5") == 3
    assert wired.sent.endswith(b"fine")
