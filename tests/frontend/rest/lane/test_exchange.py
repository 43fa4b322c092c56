"""What the application answers over the lane is what it answers over Tornado's own server."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.httpserver import HTTPServer

from pyserver.frontend.rest.lane.server import LaneServer

HOST = "Host: a\r\n"
REQUESTS = {
    "get": f"GET /hello?name=x HTTP/1.1\r\n{HOST}\r\n",
    "escaped": f"GET /hello?name=%41%20b HTTP/1.1\r\n{HOST}\r\n",
    "head": f"HEAD /stream/1/1 HTTP/1.1\r\n{HOST}\r\n",
    "post": f"POST /hello HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc",
    "form": f"POST /hello HTTP/1.1\r\n{HOST}Content-Type: application/x-www-form-urlencoded\r\n"
    "Content-Length: 3\r\n\r\na=b",
    "chunked": f"POST /hello HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    "no content": f"DELETE /hello HTTP/1.1\r\n{HOST}\r\n",
    "wrong method": f"PUT /hello HTTP/1.1\r\n{HOST}Content-Length: 0\r\n\r\n",
    "unknown method": f"PROPFIND /hello HTTP/1.1\r\n{HOST}\r\n",
    "no route": f"GET /nowhere HTTP/1.1\r\n{HOST}\r\n",
    "streamed": f"GET /stream/3/10 HTTP/1.1\r\n{HOST}\r\n",
    "upload": f"POST /upload HTTP/1.1\r\n{HOST}Content-Length: 10\r\n\r\n0123456789",
    "close": f"GET /hello HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n",
    "1.0": "GET /hello HTTP/1.0\r\n\r\n",
    "1.0, to be kept": "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "1.0, streamed": "GET /stream/3/10 HTTP/1.0\r\n\r\n",
    "not modified": f'GET /hello HTTP/1.1\r\n{HOST}If-None-Match: *\r\n\r\n',
    "expectation": f"POST /hello HTTP/1.1\r\n{HOST}Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    "upgrade": f"GET /hello HTTP/1.1\r\n{HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "impatient": f"POST /impatient HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc",
    "asterisk": f"OPTIONS * HTTP/1.1\r\n{HOST}\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
async def test_as_tornado(name: str, lane: LaneServer, connect: Any, tools: SimpleNamespace) -> None:
    request = REQUESTS[name].encode()
    method = REQUESTS[name].split(" ")[0]
    server = HTTPServer(lane.application)
    server.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    theirs, ours = tools.Client(reader, writer), await connect()
    for client in (theirs, ours):
        client.send(request)
    expected, reply = await theirs.reply(method), await ours.reply(method)
    await theirs.close()
    server.stop()
    await server.close_all_connections()
    assert reply.line == expected.line
    assert reply.body == expected.body
    plain = {key: value.lower() for key, value in reply.headers.items()}
    assert plain == {key: value.lower() for key, value in expected.headers.items()}


async def test_one_after_another(connect: Any) -> None:
    client = await connect()
    kept = [name for name in REQUESTS if not name.startswith(("close", "1.0", "impatient"))]
    client.send("".join(REQUESTS[name] for name in kept).encode())
    for name in kept:
        reply = await client.reply(REQUESTS[name].split(" ")[0])
        assert reply.status in (200, 204, 304, 404, 405)
    client.send(REQUESTS["close"].encode())
    assert (await client.reply()).headers["Connection"] == "close"
    assert await client.at_end()


@pytest.mark.parametrize("host", ["", "Host: a b\r\n", "Host: a,b\r\n", "Host: <\r\n"])
async def test_a_bad_host(host: str, connect: Any) -> None:
    client = await connect()
    client.send(f"GET /hello HTTP/1.1\r\n{host}\r\n".encode())
    reply = await client.reply()
    assert reply.status == 400
    assert b"Host" in reply.body or b"host" in reply.body
    assert await client.at_end()


async def test_a_malformed_chunk_for_the_application(connect: Any, tools: SimpleNamespace) -> None:
    tools.Upload.lost = 0
    client = await connect()
    client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
    reply = await client.reply()
    assert reply.status == 400
    assert b"malformed chunked" in reply.body
    assert await client.at_end()
    assert tools.Upload.lost == 1


async def test_a_header_that_breaks_the_line(connect: Any, lane: LaneServer) -> None:
    from tornado.httputil import HTTPHeaders, ResponseStartLine

    from pyserver.frontend.rest.lane.exchange import _head_bytes

    headers = HTTPHeaders()
    headers._dict = {"X": "a\r\nSet-Cookie: b"}
    headers._as_list = {"X": ["a\r\nSet-Cookie: b"]}
    with pytest.raises(ValueError, match="CR or LF"):
        _head_bytes(ResponseStartLine("HTTP/1.1", 200, "OK"), headers, b"")


async def test_leave_to_send_is_the_applications_to_give(connect: Any, tools: SimpleNamespace) -> None:
    head = f"POST /{{}} HTTP/1.1\r\n{HOST}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    client = await connect()
    client.send(head.format("upload").encode())
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert (await client.reply()).body == b'{"received": 3}'
    client.send(head.format("impatient").encode())
    assert (await client.reply()).status == 403
    assert client.interim == 0
    assert await client.at_end()
