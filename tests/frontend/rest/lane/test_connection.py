"""One connection without a socket: fed in every way, its answers watched."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.rest.lane.server import LaneServer
from pyserver.frontend.rest.limits import Limits
from tests.support.lane import settle


def requests(tools: SimpleNamespace) -> dict[str, bytes]:
    """A stream of requests of each kind, all to be answered on one connection."""
    infer, host = tools.infer, b" HTTP/1.1\r\nHost: a\r\n"
    get = b"GET /hello?name=x" + host + b"\r\n"
    return {
        "inference": infer(b"abcd"),
        "remembered": infer(b"abcd") * 3,
        "chunked": infer(b"abcdefgh", b"", b"xyz", chunks=7),
        "expectation": infer(b"abcd", headers="Expect: 100-continue\r\n"),
        "application": get,
        "application with a body": b"POST /hello" + host + b"Content-Length: 10\r\n\r\n0123456789",
        "application, chunked": b"POST /hello" + host + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "unknown model": infer(b"abcd", model="nobody"),
        "empty lines": b"\r\n\r\n" + infer(b"abcd"),
        "last": infer(b"abcd", headers="Connection: close\r\n"),
        "mixed": infer(b"a") + get + infer(b"b", chunks=5) + infer(b"c", model="x") + b"HEAD /hello" + host + b"\r\n"
        + infer(b"d") + b"GET /nowhere" + host + b"\r\n" + infer(b""),
    }  # fmt: skip


KINDS = ["inference", "remembered", "chunked", "expectation", "application", "application with a body",
         "application, chunked", "unknown model", "empty lines", "last", "mixed"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_cut_at_every_byte(kind: str, wire: Any, tools: SimpleNamespace) -> None:
    data = requests(tools)[kind]
    whole = wire()
    whole.feed(data)
    await settle(60)
    expected = whole.sent.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    assert expected.startswith(b"HTTP/1.1 ")
    assert not whole.transport.paused_reading
    for at in range(1, len(data)):
        wired = wire()
        wired.feed(data[:at])
        if at % 3 == 0:
            await settle(3)
        wired.feed(data[at:])
        await settle(60 if kind in ("mixed", "application, chunked") else 20)
        assert wired.sent.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"") == expected, at
        wired.lose()


@pytest.mark.parametrize("kind", KINDS)
async def test_byte_by_byte(kind: str, wire: Any, tools: SimpleNamespace) -> None:
    data = requests(tools)[kind]
    whole, slow = wire(), wire()
    whole.feed(data)
    for at in range(len(data)):
        slow.feed(data[at : at + 1])
        await asyncio.sleep(0)
    await settle(60)
    assert slow.sent.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"") == whole.sent.replace(
        b"HTTP/1.1 100 Continue\r\n\r\n", b""
    )


async def test_answers_keep_their_order(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    wired = wire()
    wired.feed(b"".join(tools.infer(b"%d" % number) for number in range(5)) + tools.infer(b"", model="nobody"))
    assert len(plane.pending) == 5
    for index in (4, 2, 1, 1):
        plane.answer(index)
        await settle()
    assert wired.sent == b""
    plane.answer()
    await settle()
    parts = wired.sent.split(b"HTTP/1.1 ")[1:]
    assert [part[-1:] for part in parts] == [b"0", b"1", b"2", b"3", b"4", b"}"]
    assert parts[5].startswith(b"404 Not Found")


async def test_what_is_answered_in_one_turn_is_one_write(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    wired = wire()
    wired.feed(b"".join(tools.infer(b"%d" % number) for number in range(8)))
    writes = []
    wired.transport.write = lambda data: writes.append(bytes(data))
    for _ in range(8):
        plane.answer()
    await settle()
    assert len(writes) == 1
    assert writes[0].count(b"HTTP/1.1 200 OK") == 8
    plane.hold, plane.at_once = False, True
    wired.feed(tools.infer(b"x") * 8)
    assert len(writes) == 2
    assert writes[1].count(b"HTTP/1.1 200 OK") == 8


async def test_so_many_in_flight_and_no_more(lane: LaneServer, wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    lane.limits = Limits(max_pipelined=4)
    wired = wire()
    wired.feed(tools.infer(b"abc") * 6)
    assert len(plane.pending) == 4
    wired.feed(tools.infer(b"abc") * 1000)
    assert len(plane.pending) == 4
    assert wired.transport.paused_reading
    served = 4
    while plane.pending:
        plane.answer()
        await settle(3)
        assert len(plane.pending) <= 4
        served += len(plane.pending) == 4
    assert not wired.transport.paused_reading
    assert wired.sent.count(b"200 OK") == served + 3 - 3 >= 6


async def test_errors_of_the_plane(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    wired = wire()
    plane.error = ServerError(ErrorCode.UNAVAILABLE, "Exceeds maximum queue size", retry_after=1.5)
    wired.feed(tools.infer(b"a"))
    assert b"HTTP/1.1 503 Service Unavailable\r\n" in wired.sent
    assert b"Retry-After: 2\r\n" in wired.sent
    plane.error, plane.hold = None, True
    wired.feed(tools.infer(b"a") * 3)
    plane.pending.pop(0)[1].set_exception(ServerError(ErrorCode.INTERNAL, "boom"))
    plane.pending.pop(0)[1].cancel()
    plane.answer()
    await settle()
    assert (
        b'500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"error":"boom"}'
        in wired.sent
    )
    assert b'{"error":"the request was cancelled"}' in wired.sent
    assert wired.sent.count(b"HTTP/1.1 200 OK") == 1
    assert not wired.transport.eof


async def test_http_1_0(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    wired = wire()
    keep = tools.infer(b"1", headers="Connection: keep-alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    wired.feed(keep + tools.infer(b"2").replace(b"HTTP/1.1", b"HTTP/1.0") + tools.infer(b"3"))
    await settle()
    first, second = wired.sent.split(b"HTTP/1.1 ")[1:]
    assert b"Connection: keep-alive\r\n" in first
    assert b"Connection" not in second
    assert wired.transport.eof


async def test_heads_are_remembered_but_not_too_many(
    lane: LaneServer, wire: Any, plane: Any, tools: SimpleNamespace
) -> None:
    wired = wire()
    wired.feed(tools.infer(b"abcd") * 3)
    assert len(lane.heads) == 1
    wired.feed(tools.infer(b"abcd", headers=f"X: {'a' * 3000}\r\n"))
    wired.feed(tools.infer(b"abcd", headers="Accept-Encoding: gzip\r\n"))
    await settle()
    assert len(lane.heads) == 1
    for number in range(1100):
        wired.feed(tools.infer(b"abcd", headers=f"X: {number}\r\n"))
        await settle(2)
    assert len(lane.heads) <= 1024


async def test_what_the_lane_leaves_to_the_application(
    lane: LaneServer, wire: Any, plane: Any, tools: SimpleNamespace
) -> None:
    lane._divert = lambda head: any(name.lower() == b"x-secret" for name, _ in head.fields)
    wired = wire()
    for line in ("Accept-Encoding: gzip, deflate", "Content-Encoding: gzip", "X-Secret: 1"):
        wired.feed(tools.infer(b"abcd", headers=f"{line}\r\n"))
        await settle(20)
    assert wired.sent.count(b"HTTP/1.1 404") == 3  # the test's application has no such route
    assert not plane.requests
    for line in ("Accept-Encoding: identity", "Accept-Encoding: br", "Content-Encoding: identity", "X-Other: 1"):
        wired.feed(tools.infer(b"abcd", headers=f"{line}\r\n"))
        await settle()
    assert len(plane.requests) == 4


async def test_the_access_log(lane: LaneServer, wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    lines: list[tuple[object, ...]] = []
    lane.access_log = lambda *line: lines.append(line)
    wired = wire()
    wired.feed(tools.infer(b"abcd") + b"GET /hello?x HTTP/1.1\r\nHost: a\r\n\r\n" + tools.infer(b"", model="nobody"))
    await settle(40)
    assert [line[:4] for line in lines] == [
        ("127.0.0.1", "POST", "/v2/models/echo/infer", 200),
        ("127.0.0.1", "GET", "/hello?x", 200),
        ("127.0.0.1", "POST", "/v2/models/nobody/infer", 404),
    ]
    assert all(0 <= line[5] < 10 for line in lines)  # type: ignore[operator]
