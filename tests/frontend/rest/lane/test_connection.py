"""One connection without a socket: fed in every way, its answers and its memory watched."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.rest.lane.server import LaneServer
from pyserver.frontend.rest.limits import Limits
from tests.support.lane import Wired

KIB = 1024


@pytest.fixture
def wire(lane: LaneServer) -> Any:
    made: list[Wired] = []

    def make(room: int = 1 << 30) -> Wired:
        made.append(Wired(lane, room))
        return made[-1]

    yield make
    for wired in made:
        wired.lose()


async def settle(turns: int = 12) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


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


@pytest.mark.parametrize("lends", [True, False])
async def test_gone_at_any_point_of_a_body(lends: bool, wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.lends = lends
    for request in (tools.infer(bytes(100 * KIB)), tools.infer(bytes(100 * KIB), chunks=999)):
        for at in range(0, len(request), 4999):
            wired = wire()
            wired.feed(request[:at])
            wired.lose()
            assert plane.leases == 0
            wired = wire()
            wired.feed(request[:at])
            assert wired.protocol.eof_received() is False
            wired.lose()
            assert plane.leases == 0
    assert not plane.requests


async def test_gone_while_inferring(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    wired = wire()
    wired.feed(tools.infer(bytes(100 * KIB)) + tools.infer(b"small") + tools.infer(b"x", model="nobody"))
    wired.lose()
    assert [future.cancelled() for _, future in plane.pending] == [True, True]
    plane.drop_cancelled()
    assert plane.leases == 0
    await settle()
    assert wired.sent == b""


async def test_gone_just_after_the_answer_was_decided(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    wired = wire()
    wired.feed(tools.infer(b"a") + tools.infer(b"b"))
    plane.answer(1)
    assert plane.leases == 1
    wired.lose()
    plane.drop_cancelled()
    assert plane.leases == 0


async def test_a_failed_future_nobody_waits_for(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    wired = wire()
    wired.feed(tools.infer(b"a") + tools.infer(b"b"))
    plane.pending.pop(1)[1].set_exception(ServerError(ErrorCode.INTERNAL, "boom"))
    wired.lose()
    plane.drop_cancelled()


async def test_memory_is_held_as_long_as_the_transport_looks(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    data = random.Random(2).randbytes(100 * KIB)
    wired = wire(room=10 * KIB)
    wired.feed(tools.infer(data) + tools.infer(data) + tools.infer(b"small") + tools.infer(data))
    await settle()
    # One answer is on its way, the others wait: their memory is held, and no write is made beyond what is sent.
    assert plane.leases == 4 + 2  # four answers, and the large bodies of those that had no turn yet
    while wired.transport.queue:
        assert plane.leases > 0
        wired.transport.take(7 * KIB)
        await settle(2)
    assert wired.sent.count(data) == 3
    assert wired.sent.count(b"200 OK") == 4
    assert plane.leases == 0


async def test_gone_while_sending(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    wired = wire(room=10 * KIB)
    wired.feed(tools.infer(bytes(100 * KIB)) * 3)
    await settle()
    assert plane.leases == 3 + 2
    wired.lose()
    assert plane.leases == 0


async def test_small_answers_hold_nothing(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    wired = wire(room=10)
    wired.feed(tools.infer(b"small"))
    await settle()
    assert wired.transport.queue
    assert plane.leases == 0


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


async def test_after_nonsense_nothing_is_read(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    wired = wire()
    wired.feed(tools.infer(b"good") + b"NONSENSE\r\n\r\n" + tools.infer(b"smuggled"))
    assert len(plane.pending) == 1
    assert wired.sent == b""
    plane.answer()
    await settle()
    good, _, bad = wired.sent.partition(b"goodHTTP/1.1 ")
    assert good.startswith(b"HTTP/1.1 200 OK")
    assert bad.startswith(b"400 Bad Request\r\nConnection: close\r\n")
    assert wired.transport.eof
    wired.feed(tools.infer(b"smuggled"))
    assert not plane.pending
    assert wired.protocol.eof_received() is False


async def test_a_request_after_the_last_is_not_answered(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    wired = wire()
    wired.feed(tools.infer(b"1", headers="Connection: close\r\n") + tools.infer(b"2"))
    await settle()
    assert wired.sent.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close\r\n" in wired.sent
    assert wired.transport.eof
    assert len(plane.requests) == 1


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


async def test_headers_without_end(wire: Any) -> None:
    wired = wire()
    wired.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    for _ in range(70):
        wired.feed(b"a" * 1000)
    assert b"--http-max-header-size" in wired.sent
    assert wired.transport.eof


async def test_slow_clients(lane: LaneServer, wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    assert lane._timer is not None
    lane._timer.cancel()
    now = 1000
    idle, head, body, sending, working = wire(), wire(), wire(), wire(room=10), wire()
    request = tools.infer(bytes(100 * KIB))
    head.feed(request[:20])
    body.feed(request[:1000])
    sending.feed(request)
    plane.answer()
    await settle()
    working.feed(tools.infer(b"x"))
    for second in range(3605):
        if second < 29:
            body.feed(b"\0")
            if second % 5 == 0:
                head.feed(b"a")
        for wired in (idle, head, body, sending, working):
            if not wired.transport.closing:
                wired.protocol.check_time(now + second)
        assert (b"400" in head.sent) == (second > 10)
        assert head.transport.aborted == (second > 11 + 1 + 2)
        assert (b"400" in body.sent) == (second > 30)
        assert sending.transport.aborted == (second > 30)
        assert idle.transport.closing == (second > 3600)
        assert not working.transport.closing
    assert b"request headers took too long: the limit is 10 s" in head.sent
    assert b"request body took too long: the limit is 30 s" in body.sent


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


async def test_a_drained_connection_says_so(wire: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    idle, working, receiving = wire(), wire(), wire()
    working.feed(tools.infer(b"1") + tools.infer(b"2"))
    request = tools.infer(b"late")
    receiving.feed(request[:50])
    for wired in (idle, working, receiving):
        wired.protocol.wind_down()
        wired.protocol.settle()
    assert idle.transport.closing
    receiving.feed(request[50:])
    for _ in range(3):
        plane.answer()
    await settle()
    first, second = working.sent.split(b"HTTP/1.1 ")[1:]
    assert b"Connection: close" not in first
    assert b"Connection: close" in second
    assert b"Connection: close" in receiving.sent
    assert working.transport.eof
    assert receiving.transport.eof


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
