"""A lane over a data plane that echoes, a Tornado application, and clients that can misbehave; on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
import uvloop

from pyserver.frontend.rest.lane.server import LaneServer
from pyserver.frontend.rest.limits import Limits
from tests.support.lane import EchoPlane, Silent, Stream, Upload, Wired, application


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    line: str = ""


@dataclass
class Client:
    """A raw connection. It can send anything, and reads answers by the book."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    interim: int = 0
    sent: bytes = field(default=b"", repr=False)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def trickle(self, data: bytes) -> None:
        """A byte in each turn of the loop."""
        for at in range(len(data)):
            self.writer.write(data[at : at + 1])
            await asyncio.sleep(0)

    async def reply(self, method: str = "POST") -> Reply:
        """The next answer, after any interim ones."""
        return await asyncio.wait_for(self._reply(method), 20)

    async def _reply(self, method: str) -> Reply:
        while True:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head[:-4].split("\r\n")
            status = int(line.split(" ")[1])
            if status != 100:
                break
            self.interim += 1
        headers = dict(text.split(": ", 1) for text in lines)
        body = b"" if method == "HEAD" or status in (204, 304) else await self._body(headers)
        return Reply(status, headers, body, line)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "Content-Length" in headers:
            return await self.reader.readexactly(int(headers["Content-Length"]))
        if headers.get("Transfer-Encoding") != "chunked":
            return await self.reader.read()
        parts = []
        while size := int(await self.reader.readline(), 16):
            parts.append(await self.reader.readexactly(size))
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return b"".join(parts)

    async def at_end(self) -> bool:
        """Whether the server has closed its half, with nothing more to read."""
        return await asyncio.wait_for(self.reader.read(), 5) == b""

    def eof(self) -> None:
        self.writer.write_eof()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that the other end of a socket does."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, "it never happened"
        await asyncio.sleep(0.001)


def infer_body(*tensors: bytes, id: str = "") -> tuple[bytes, int]:
    """A body with UINT8 tensors, and its header length."""
    inputs = ",".join(
        f'{{"name":"IN{number}","datatype":"UINT8","shape":[{len(data)}],'
        f'"parameters":{{"binary_data_size":{len(data)}}}}}'
        for number, data in enumerate(tensors)
    )
    text = f'{{"id":"{id}","inputs":[{inputs}],"parameters":{{"binary_data_output":true}}}}'.encode()
    return text + b"".join(tensors), len(text)


def infer(*tensors: bytes, model: str = "echo", headers: str = "", chunks: int = 0, id: str = "") -> bytes:
    """A request; in chunks of `chunks` bytes if that is not 0."""
    body, length = infer_body(*tensors, id=id)
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: a\r\nInference-Header-Content-Length: {length}\r\n{headers}"
    )
    if not chunks:
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    cut = [body[at : at + chunks] for at in range(0, len(body), chunks)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut)
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + framed + b"0\r\n\r\n"


def tensor_bytes(reply: Reply) -> bytes:
    """The tensors of a binary answer."""
    assert reply.status == 200, reply.body
    return reply.body[int(reply.headers["Inference-Header-Content-Length"]) :]


@pytest.fixture
def tools() -> SimpleNamespace:
    return SimpleNamespace(
        infer=infer, infer_body=infer_body, tensor_bytes=tensor_bytes, until=until, application=application,
        Stream=Stream, Silent=Silent, Upload=Upload, Client=Client,
    )  # fmt: skip


@pytest.fixture
def plane() -> EchoPlane:
    return EchoPlane()


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest_asyncio.fixture
async def lane(plane: EchoPlane, limits: Limits) -> AsyncIterator[LaneServer]:
    """A server on a free port. When the test is over nothing may be open, or lent."""
    Upload.gate = asyncio.Event()
    Upload.gate.set()
    server = LaneServer(application(), plane, "127.0.0.1", 0, limits)  # type: ignore[arg-type]
    await server.start()
    yield server
    await server.drain(0)
    assert server.connections == 0
    plane.drop_cancelled()
    assert not plane.pending
    assert plane.leases == 0


@pytest_asyncio.fixture
async def connect(lane: LaneServer) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    clients: list[Client] = []

    async def open_one() -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", lane.port, limit=1 << 26)
        clients.append(Client(reader, writer))
        return clients[-1]

    yield open_one
    for client in clients:
        await client.close()


@pytest.fixture
def wire(lane: LaneServer) -> Any:
    made: list[Wired] = []

    def make(room: int = 1 << 30) -> Wired:
        made.append(Wired(lane, room))
        return made[-1]

    yield make
    for wired in made:
        wired.lose()
