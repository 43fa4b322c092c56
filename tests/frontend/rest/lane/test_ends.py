"""How a connection ends: gone, slow or confused clients, and what each leaves behind, which is nothing."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.rest.lane.server import LaneServer
from tests.support.lane import settle

KIB = 1024


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
    await settle()
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
