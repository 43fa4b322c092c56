"""The lane over TLS, on both loops: everything comes and goes as without it, and no memory is held too long."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from pyserver.frontend.rest.lane.server import LaneServer
from pyserver.frontend.rest.limits import Limits
from pyserver.frontend.tls import TlsFiles
from tests.support.certificates import Certificates
from tests.support.lane import EchoPlane, application

MIB = 1 << 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest_asyncio.fixture
async def lane(plane: EchoPlane, files: Certificates, limits: Limits) -> AsyncIterator[LaneServer]:
    tls = TlsFiles("http", False, str(files.cert), str(files.key), "")
    server = LaneServer(application(), plane, "127.0.0.1", 0, limits, tls=tls)  # type: ignore[arg-type]
    await server.start()
    yield server
    await server.drain(0)
    assert server.connections == 0
    assert plane.leases == 0


@pytest_asyncio.fixture
async def client(lane: LaneServer, files: Certificates, tools: SimpleNamespace) -> AsyncIterator[Any]:
    trusted = ssl.create_default_context(cafile=str(files.root))
    reader, writer = await asyncio.open_connection("127.0.0.1", lane.port, limit=1 << 26, ssl=trusted)
    made = tools.Client(reader, writer)
    yield made
    await made.close()


async def test_bodies_of_all_sizes(client: Any, plane: EchoPlane, tools: SimpleNamespace) -> None:
    for size in (1, 1000, 60_000, 70_000, MIB, 8 * MIB):
        data = random.Random(size).randbytes(size)
        client.send(tools.infer(data))
        assert tools.tensor_bytes(await client.reply()) == data
        client.send(tools.infer(data, chunks=30_000))
        assert tools.tensor_bytes(await client.reply()) == data
    await tools.until(lambda: plane.leases == 0)


async def test_many_in_a_row(client: Any, tools: SimpleNamespace) -> None:
    client.send(tools.infer(b"a") * 200 + b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    for _ in range(200):
        assert tools.tensor_bytes(await client.reply()) == b"a"
    assert (await client.reply()).status == 200


async def test_a_client_that_does_not_read(client: Any, plane: EchoPlane, tools: SimpleNamespace) -> None:
    data = bytes(4 * MIB)
    client.writer.transport.pause_reading()
    client.send(tools.infer(data) * 4)
    await tools.until(lambda: len(plane.requests) == 4)
    client.writer.transport.resume_reading()
    for _ in range(4):
        assert len(tools.tensor_bytes(await client.reply())) == len(data)
    await tools.until(lambda: plane.leases == 0)


async def test_a_client_that_goes(lane: LaneServer, client: Any, plane: EchoPlane, tools: SimpleNamespace) -> None:
    plane.hold = True
    client.send(tools.infer(bytes(MIB)) + tools.infer(b"x"))
    await tools.until(lambda: len(plane.pending) == 2)
    await client.reset()
    await tools.until(lambda: lane.connections == 0)
    assert all(future.cancelled() for _, future in plane.pending)
    plane.drop_cancelled()


async def test_a_refusal_arrives_and_closes(client: Any, lane: LaneServer, tools: SimpleNamespace) -> None:
    client.send(b"NONSENSE\r\n\r\n" + bytes(100_000))
    reply = await client.reply()
    assert reply.status == 400
    assert reply.headers["Connection"] == "close"
    assert lane.connections == 1
    lane.check_time(lane.loop.time())
    lane.check_time(lane.loop.time() + 3)
    await tools.until(lambda: lane.connections == 0)


async def test_the_last_answer_closes(client: Any, lane: LaneServer, tools: SimpleNamespace) -> None:
    client.send(tools.infer(b"x", headers="Connection: close\r\n"))
    assert tools.tensor_bytes(await client.reply()) == b"x"
    assert await client.at_end()
    await tools.until(lambda: lane.connections == 0)


async def test_a_handshake_that_never_ends(files: Certificates, plane: EchoPlane) -> None:
    tls = TlsFiles("http", False, str(files.cert), str(files.key), "")
    server = LaneServer(application(), plane, "127.0.0.1", 0, Limits(header_timeout=0.2), tls=tls)  # type: ignore[arg-type]
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await server.drain(0)
