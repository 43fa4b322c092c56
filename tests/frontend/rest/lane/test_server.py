"""The lane over real sockets, on both event loops: clients that are slow, cut off, greedy or gone."""

from __future__ import annotations

import asyncio
import os
import random
from types import SimpleNamespace
from typing import Any

import pytest

from pyserver.errors import ServerError
from pyserver.frontend.rest.lane.server import LaneServer
from pyserver.frontend.rest.limits import Limits

MIB = 1 << 20


async def test_keep_alive(connect: Any, tools: SimpleNamespace) -> None:
    client = await connect()
    for number in range(3):
        client.send(tools.infer(b"%d" % number, id="7"))
        reply = await client.reply()
        assert tools.tensor_bytes(reply) == b"%d" % number
        assert sorted(reply.headers) == ["Content-Length", "Content-Type", "Inference-Header-Content-Length"]
        assert reply.headers["Content-Type"] == "application/octet-stream"


async def test_pipelined_mixture_in_random_pieces(connect: Any, tools: SimpleNamespace) -> None:
    randomly = random.Random(7)
    client = await connect()
    stream, expected = b"", []
    for number in range(60):
        kind = randomly.randrange(6)
        data = randomly.randbytes(randomly.choice((0, 3, 100, 5000, 90_000)))
        if kind < 3:
            stream += tools.infer(data, chunks=randomly.choice((0, 0, 1000)))
            expected.append(data)
        elif kind == 3:
            stream += f"GET /hello?name={number} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
            expected.append(f'{{"hello": "{number}", "from": "127.0.0.1"}}'.encode())
        elif kind == 4:
            stream += b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
            expected.append(data)
        else:
            stream += b"GET /stream/3/20000 HTTP/1.1\r\nHost: a\r\n\r\n"
            expected.append(b"x" * 60_000)

    async def send() -> None:
        at = 0
        while at < len(stream):
            size = randomly.choice((1, 10, 1000, 50_000))
            client.send(stream[at : at + size])
            at += size
            await asyncio.sleep(0)

    sending = asyncio.ensure_future(send())
    for wanted in expected:
        reply = await client.reply()
        assert reply.status == 200
        header = int(reply.headers.get("Inference-Header-Content-Length", 0))
        if reply.headers["Content-Type"].startswith("application/json") and b'"echo"' in reply.body:
            assert wanted == b""
        else:
            assert reply.body[header:] == wanted
    await sending


async def test_a_byte_a_time(connect: Any, tools: SimpleNamespace) -> None:
    client = await connect()
    await client.trickle(tools.infer(b"slow") + tools.infer(b"slower", chunks=3))
    assert tools.tensor_bytes(await client.reply()) == b"slow"
    assert tools.tensor_bytes(await client.reply()) == b"slower"


@pytest.mark.parametrize("lends", [True, False])
async def test_sixteen_megabytes(lends: bool, connect: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.lends = lends
    randomly = random.Random(3)
    data = randomly.randbytes(16 * MIB)
    request = tools.infer(data)
    client = await connect()
    at = 0
    while at < len(request):
        size = randomly.choice((1, 1000, 100_000, 3_000_000))
        client.send(request[at : at + size])
        at += size
        await asyncio.sleep(0)
    assert tools.tensor_bytes(await client.reply()) == data
    assert plane.reserved == int(lends)


async def test_a_client_that_reads_slowly(connect: Any, plane: Any, tools: SimpleNamespace) -> None:
    data = random.Random(4).randbytes(8 * MIB)
    client = await connect()
    client.writer.transport.pause_reading()
    client.send(tools.infer(data) * 3)
    await tools.until(lambda: len(plane.requests) == 3 and not plane.pending)
    assert plane.leases == 3 + 2  # three answers, and the bodies of the two that had no turn yet
    client.writer.transport.resume_reading()
    for _ in range(3):
        assert tools.tensor_bytes(await client.reply()) == data
    await tools.until(lambda: plane.leases == 0)


async def test_streams_wait_for_their_reader(connect: Any, tools: SimpleNamespace) -> None:
    tools.Stream.sent = 0
    client = await connect()
    client.writer.transport.pause_reading()
    client.send(b"GET /stream/200/200000 HTTP/1.1\r\nHost: a\r\n\r\n")
    await tools.until(lambda: tools.Stream.sent > 1)
    before = -1
    while before != tools.Stream.sent:
        before = tools.Stream.sent
        for _ in range(50):
            await asyncio.sleep(0.001)
    assert before < 150
    client.writer.transport.resume_reading()
    assert len((await client.reply()).body) == 200 * 200_000
    assert tools.Stream.sent == 200


async def test_uploads_wait_for_their_handler(lane: LaneServer, connect: Any, tools: SimpleNamespace) -> None:
    tools.Upload.gate.clear()
    client = await connect()
    size = 32 * MIB
    client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    for _ in range(100):
        await asyncio.sleep(0.001)
    assert client.writer.transport.get_write_buffer_size() > MIB
    tools.Upload.gate.set()
    assert (await client.reply()).body == b'{"received": %d}' % size


async def test_a_chunked_upload(connect: Any, tools: SimpleNamespace) -> None:
    client = await connect()
    head = b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.send(head + b"3\r\nabc\r\n" * 5000 + b"0\r\n\r\n" + tools.infer(b"next"))
    assert (await client.reply()).body == b'{"received": 15000}'
    assert tools.tensor_bytes(await client.reply()) == b"next"


async def test_an_application_that_does_not_want_the_body(connect: Any) -> None:
    client = await connect()
    client.send(b"POST /impatient HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
    assert (await client.reply()).body == b"no"
    client.send(bytes(50_000))
    assert await client.at_end()


async def test_an_application_that_breaks_its_word(connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = await connect()
    client.send(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.reply()


POINTS = (1, 10, 100, 150, 250, 1000, 70_000, 99_999)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("chunks", [0, 700])
async def test_gone_at_many_points(
    how: str, chunks: int, lane: LaneServer, connect: Any, plane: Any, tools: SimpleNamespace
) -> None:
    request = tools.infer(bytes(100_000), chunks=chunks)
    for point in POINTS:
        client = await connect()
        client.send(request[:point])
        await tools.until(lambda: lane.connections == 1)
        await asyncio.sleep(0.002)
        await getattr(client, how)()
        await tools.until(lambda: lane.connections == 0)
        assert plane.leases == 0
    assert not plane.requests


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_gone_while_inferring(
    how: str, lane: LaneServer, connect: Any, plane: Any, tools: SimpleNamespace
) -> None:
    """Closing looks like half-closing: it takes a word to find out, and little time."""
    plane.hold = True
    client = await connect()
    client.send(tools.infer(b"abc") + tools.infer(bytes(200_000)))
    await tools.until(lambda: len(plane.pending) == 2)
    begun = lane.loop.time()
    await getattr(client, how)()
    await tools.until(lambda: all(future.cancelled() for _, future in plane.pending))
    assert lane.loop.time() - begun < 1
    assert lane.connections == 0


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_gone_while_the_application_works(
    how: str, lane: LaneServer, connect: Any, tools: SimpleNamespace
) -> None:
    tools.Silent.closed = 0
    client = await connect()
    client.send(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\n")
    await tools.until(lambda: lane.connections == 1)
    await asyncio.sleep(0.01)
    await getattr(client, how)()
    await tools.until(lambda: lane.connections == 0)
    assert tools.Silent.closed == 1


async def test_gone_in_the_middle_of_an_upload(lane: LaneServer, connect: Any, tools: SimpleNamespace) -> None:
    tools.Upload.lost = 0
    for how in ("close", "reset"):
        client = await connect()
        client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
        await asyncio.sleep(0.01)
        await getattr(client, how)()
        await tools.until(lambda: lane.connections == 0)
    assert tools.Upload.lost == 2


async def test_half_closed_clients_get_their_answers(
    lane: LaneServer, connect: Any, plane: Any, tools: SimpleNamespace
) -> None:
    plane.hold = True
    client = await connect()
    client.send(tools.infer(b"1") + tools.infer(b"2") + b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" + tools.infer(b"3"))
    client.send(tools.infer(b"cut")[:-1])
    await tools.until(lambda: len(plane.pending) == 2)
    client.eof()
    for _ in range(20):
        await asyncio.sleep(0.001)
    plane.answer(1)
    plane.answer(0)
    assert tools.tensor_bytes(await client.reply()) == b"1"
    assert client.interim == 1
    assert tools.tensor_bytes(await client.reply()) == b"2"
    assert (await client.reply()).status == 200
    await tools.until(lambda: len(plane.pending) == 1)
    plane.answer()
    assert tools.tensor_bytes(await client.reply()) == b"3"
    assert await client.at_end()
    await tools.until(lambda: lane.connections == 0)


async def test_half_closed_before_a_large_answer(connect: Any, plane: Any, tools: SimpleNamespace) -> None:
    data = random.Random(5).randbytes(8 * MIB)
    client = await connect()
    client.writer.transport.pause_reading()
    client.send(tools.infer(data))
    await tools.until(lambda: bool(plane.requests) and not plane.pending)
    client.eof()
    client.writer.transport.resume_reading()
    assert tools.tensor_bytes(await client.reply()) == data
    assert await client.at_end()


async def test_nobody_is_reset_before_reading_why(
    lane: LaneServer, connect: Any, plane: Any, tools: SimpleNamespace
) -> None:
    """A body refused for its size is read to its end, or the client never sees the answer."""
    lane.limits = Limits(max_body_size=1000)
    client = await connect()
    client.send(tools.infer(bytes(20 * MIB)))
    reply = await client.reply()
    assert reply.status == 400
    assert b"--http-max-body-size" in reply.body
    assert reply.headers["Connection"] == "close"
    assert await client.at_end()


@pytest.mark.parametrize("limits", [Limits(max_connections=2)])
async def test_too_many_connections(limits: Limits, lane: LaneServer, connect: Any, tools: SimpleNamespace) -> None:
    first, second, third = await connect(), await connect(), await connect()
    reply = await third.reply()
    assert reply.status == 503
    assert b"--http-max-connections" in reply.body
    assert await third.at_end()
    await third.close()
    await first.close()
    await tools.until(lambda: lane.connections == 1)
    fourth = await connect()
    for client in (second, fourth):
        client.send(tools.infer(b"abc"))
        assert tools.tensor_bytes(await client.reply()) == b"abc"


@pytest.mark.parametrize("limits", [Limits(max_connections=2)])
async def test_the_refused_do_not_pile_up(
    limits: Limits, lane: LaneServer, connect: Any, tools: SimpleNamespace
) -> None:
    clients = [await connect() for _ in range(100)]
    await tools.until(lambda: lane.connections <= 2 + 64)
    assert len(clients) == 100


async def test_slow_heads_are_cut_by_the_clock(lane: LaneServer, connect: Any) -> None:
    client = await connect()
    client.send(b"GET /hello HT")
    for _ in range(20):
        await asyncio.sleep(0.001)
    now = lane.loop.time()
    lane.check_time(now)
    lane.check_time(now + 10.5)
    reply = await client.reply()
    assert reply.status == 400
    assert b"--http-header-timeout-secs" in reply.body
    assert await client.at_end()


async def test_drain(lane: LaneServer, connect: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    idle, working, receiving = await connect(), await connect(), await connect()
    working.send(tools.infer(b"1") + tools.infer(b"2"))
    request = tools.infer(b"3")
    receiving.send(request[:100])
    idle.send(tools.infer(b"0"))
    await tools.until(lambda: len(plane.pending) == 3)
    plane.answer(next(i for i, (r, _) in enumerate(plane.pending) if bytes(r.inputs[0].data) == b"0"))
    assert tools.tensor_bytes(await idle.reply()) == b"0"
    draining = asyncio.ensure_future(lane.drain(10))
    assert await idle.at_end()
    with pytest.raises(ConnectionRefusedError):
        await connect()
    plane.answer()
    plane.answer()
    receiving.send(request[100:])
    assert "Connection" not in (await working.reply()).headers
    assert (await working.reply()).headers["Connection"] == "close"
    await tools.until(lambda: bool(plane.pending))
    plane.answer()
    assert (await receiving.reply()).headers["Connection"] == "close"
    for client in (working, receiving):
        assert await client.at_end()
        await client.close()
    assert await draining == 0
    assert lane.connections == 0


async def test_what_had_arrived_is_answered_though_nobody_had_looked(
    lane: LaneServer, connect: Any, tools: SimpleNamespace
) -> None:
    client = await connect()
    client.send(tools.infer(b"1"))
    await client.reply()
    os.write(client.writer.get_extra_info("socket").fileno(), tools.infer(b"2"))  # no turn of the loop until drain
    draining = asyncio.ensure_future(lane.drain(10))
    reply = await client.reply()
    assert tools.tensor_bytes(reply) == b"2"
    assert reply.headers["Connection"] == "close"
    await client.close()
    assert await draining == 0


async def test_drain_in_time(lane: LaneServer, connect: Any, plane: Any, tools: SimpleNamespace) -> None:
    plane.hold = True
    client = await connect()
    client.send(tools.infer(b"1"))
    await tools.until(lambda: bool(plane.pending))
    assert await lane.drain(0.01) == 1
    assert plane.pending[0][1].cancelled()


async def test_a_port_in_use(lane: LaneServer, plane: Any, tools: SimpleNamespace) -> None:
    other = LaneServer(tools.application(), plane, "127.0.0.1", lane.port, Limits())
    with pytest.raises(ServerError, match=f"Socket '127.0.0.1:{lane.port}' already in use"):
        await other.start()


async def test_a_thousand_connections_cost_little(lane: LaneServer, connect: Any, tools: SimpleNamespace) -> None:
    clients = [await connect() for _ in range(300)]
    for client in clients:
        client.send(tools.infer(b"abc"))
    for client in clients:
        assert tools.tensor_bytes(await client.reply()) == b"abc"
    now = lane.loop.time()
    lane.check_time(now)
    lane.check_time(now + 4000)
    await tools.until(lambda: lane.connections == 0)
