import asyncio
import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest

from pyserver.errors import ErrorCode, ServerError, unavailable
from pyserver.types import InferRequest, InferResponse, Tensor

PATH = "/v2/models/m/infer"
SLOW = "/v2/models/slow/infer"
FLOATS = np.arange(4, dtype=np.float32).tobytes()
UNPACK = {"gzip": gzip.decompress, "deflate": zlib.decompress}
PACK = {"gzip": gzip.compress, "deflate": zlib.compress}


def binary(data: bytes = FLOATS, **fields: Any) -> tuple[bytes, dict[str, Any]]:
    """A binary request of one UINT8 tensor, and its header."""
    tensor = {"name": "x", "datatype": "UINT8", "shape": [len(data)], "parameters": {"binary_data_size": len(data)}}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}, **fields}).encode()
    return text + data, {"Inference-Header-Content-Length": len(text)}


def plain(**fields: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 1, 2, 3]}
    return json.dumps({"inputs": [tensor], **fields}).encode()


def tensors(answer: Any) -> bytes:
    """What follows the JSON of a binary answer."""
    content: bytes = answer.body[int(answer.headers["inference-header-content-length"]) :]
    return content


async def settled(condition: Any) -> None:
    """Let the loop turn until `condition()`."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("never came true")


async def test_json(world: Any) -> None:
    answer = await world.ask("POST", PATH, plain(id="7"))
    assert answer.status == 200
    assert answer.headers == {"content-type": "application/json", "content-length": str(len(answer.body))}
    assert answer.json == {
        "id": "7",
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.0, 1.0, 2.0, 3.0]}],
    }
    assert world.data_plane.released == 1


@pytest.mark.parametrize("path", [PATH, "/v2/models/m/versions/1/infer"])
async def test_binary(world: Any, path: str) -> None:
    body, headers = binary()
    client = await world.connect()
    for _ in range(2):
        answer = await client.ask("POST", path, body, headers)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        assert sorted(answer.headers) == ["content-length", "content-type", "inference-header-content-length"]
        assert tensors(answer) == FLOATS
    assert world.data_plane.requests[0].model_version == ("" if path == PATH else "1")
    assert world.data_plane.released == 2


async def test_raw(world: Any) -> None:
    answer = await world.ask("POST", PATH, b"raw content", Inference_Header_Content_Length=0)
    assert tensors(answer) == b"raw content"


async def test_large_bodies_are_sent_from_where_they_lie(world: Any) -> None:
    content = bytes(range(256)) * 20_000
    body, headers = binary(content)
    client = await world.connect()
    for _ in range(2):
        assert tensors(await client.ask("POST", PATH, body, headers)) == content
    await settled(lambda: world.data_plane.released == 2)


async def test_memory_is_given_back_when_the_last_byte_is_written(world: Any) -> None:
    content = bytes(30 << 20)
    body, headers = binary(content)
    client = await world.connect()
    client.reader._limit = 1  # Reads next to nothing ahead of what the test asks for.
    client.post(PATH, body, headers)
    await client.writer.drain()
    await asyncio.wait_for(world.data_plane.arrived.wait(), 30)
    await asyncio.sleep(0.05)
    assert world.data_plane.released == 0
    client.reader._limit = 1 << 20
    assert tensors(await client.answer()) == content
    await settled(lambda: world.data_plane.released == 1)


async def test_a_client_that_leaves_in_the_middle_of_an_answer(world: Any) -> None:
    body, headers = binary(bytes(30 << 20))
    client = await world.connect()
    client.reader._limit = 1
    client.post(PATH, body, headers)
    await asyncio.wait_for(world.data_plane.arrived.wait(), 30)
    client.abort()
    await settled(lambda: world.data_plane.released == 1)


# What is refused.


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v2/models/nn/infer", 404, "Request for unknown model: 'nn' is not found"),
        ("/v2/models/m/versions/7/infer", 404, "Request for unknown model: 'm' version 7 is not found"),
        ("/v2/models/m/versions/99999999999999999999/infer", 400, "failed to get model version"),
    ],
)
async def test_an_unknown_model_is_said_before_the_body_is_read(world: Any, path: str, status: int, words: str) -> None:
    client = await world.connect()
    for headers in ({}, {"Content-Encoding": "br"}, {"Inference-Header-Content-Length": "abc"}):
        answer = await client.ask("POST", path, b"{broken", headers)
        assert answer.status == status
        assert words in answer.error


@pytest.mark.parametrize(
    ("body", "length", "words"),
    [
        (b"{broken", None, "failed to parse the request JSON buffer: "),
        (b"{}", None, "Unable to parse 'inputs'"),
        (b"{}", "abc", "Unable to parse Inference-Header-Content-Length, got: abc"),
        (b"{}", "-1", "inference header size should be in range (0, 2), got: -1"),
        (b"{}", "3", "inference header size should be in range (0, 2), got: 3"),
        (binary()[0], None, "failed to parse the request JSON buffer"),
    ],
)
async def test_broken_bodies(world: Any, body: bytes, length: str | None, words: str) -> None:
    client = await world.connect()
    headers = {} if length is None else {"Inference-Header-Content-Length": length}
    answer = await client.ask("POST", PATH, body, headers)
    assert answer.status == 400
    assert words in answer.error
    assert world.data_plane.requests == []
    assert (await client.ask("GET", "/v2")).status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ServerError(ErrorCode.INVALID_ARG, "wrong"), 400),
        (ServerError(ErrorCode.INTERNAL, "wrong"), 500),
        (ServerError(ErrorCode.UNSUPPORTED, "wrong"), 501),
        (ServerError(ErrorCode.UNAVAILABLE, "wrong"), 503),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_errors_of_the_model(world: Any, error: ServerError, status: int, at_once: bool) -> None:
    client = await world.connect()
    if at_once:
        world.data_plane.error = error
        answer = await client.ask("POST", SLOW, plain())
    else:
        asking = asyncio.ensure_future(client.ask("POST", SLOW, plain()))
        await world.data_plane.arrived.wait()
        world.data_plane.futures[0].set_exception(error)
        answer = await asking
    assert (answer.status, answer.error) == (status, "wrong")
    assert "retry-after" not in answer.headers


async def test_a_full_queue_says_when_to_come_again(world: Any) -> None:
    world.data_plane.error = unavailable("Exceeds maximum queue size", 0.5)
    answer = await world.ask("POST", PATH, plain())
    assert (answer.status, answer.error, answer.headers["retry-after"]) == (503, "Exceeds maximum queue size", "1")


async def test_our_own_mistake(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    world.data_plane.error = ZeroDivisionError("at /secret/path")
    answer = await world.ask("POST", PATH, plain())
    assert (answer.status, answer.error) == (500, "internal error: see the server's log")
    assert "ZeroDivisionError: at /secret/path" in caplog.text


async def test_what_json_cannot_hold_is_refused_and_its_memory_given_back(world: Any) -> None:
    asking = asyncio.ensure_future(world.ask("POST", SLOW, plain()))
    await world.data_plane.arrived.wait()
    output = Tensor("o", "BYTES", (1,), b"\1\0\0\0\xff")
    world.data_plane.futures[0].set_result(InferResponse("slow", "1", outputs=[output], lease=world.data_plane))
    answer = await asking
    assert answer.status == 400
    assert "isn't UTF-8" in answer.error
    assert world.data_plane.released == 1


async def test_a_request_that_the_server_drops(world: Any) -> None:
    asking = asyncio.ensure_future(world.ask("POST", SLOW, plain()))
    await world.data_plane.arrived.wait()
    world.data_plane.futures[0].cancel()
    answer = await asking
    assert answer.status == 400
    assert "was cancelled" in answer.error


# Compression.


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("size", [4, 300_000])
async def test_compressed_requests_and_answers(world: Any, encoding: str, size: int) -> None:
    content = bytes(range(4)) * (size // 4)
    body, headers = binary(content)
    headers |= {"Content-Encoding": encoding, "Accept-Encoding": f"br, {encoding}, identity;q=0.5"}
    answer = await (await world.connect()).ask("POST", PATH, PACK[encoding](body), headers)
    assert answer.status == 200
    assert answer.headers["content-encoding"] == encoding
    answer.body = UNPACK[encoding](answer.body)
    assert tensors(answer) == content
    assert world.data_plane.released == 1


async def test_errors_and_documents_are_never_compressed(world: Any) -> None:
    for method, path in (("POST", PATH), ("GET", "/v2")):
        answer = await world.ask(method, path, b"{", Accept_Encoding="gzip")
        assert "content-encoding" not in answer.headers
        assert answer.json


@pytest.mark.parametrize("size", [10, 100_000])
async def test_an_unknown_encoding(world: Any, size: int) -> None:
    answer = await world.ask("POST", PATH, bytes(size), Content_Encoding="br")
    assert answer.status == 501
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert "Unsupported compression type 'br'" in answer.error


@pytest.mark.parametrize("size", [10, 100_000])
async def test_what_is_not_compressed(world: Any, size: int) -> None:
    answer = await world.ask("POST", PATH, b"x" * size, Content_Encoding="gzip")
    assert answer.status == 400
    assert "not valid gzip data" in answer.error


@pytest.mark.parametrize("size", [10 << 20, 80 << 20])
async def test_a_bomb_costs_no_more_than_the_limit(start: Any, size: int) -> None:
    world = await start(http_max_input_size=1 << 20)
    answer = await world.ask("POST", PATH, gzip.compress(bytes(size)), Content_Encoding="gzip")
    assert answer.status == 400
    assert "Use --http-max-input-size to increase the limit." in answer.error


# Framing.


async def test_chunked_bodies(world: Any) -> None:
    body, headers = binary()
    client = await world.connect()
    client.begin("POST", PATH, {"Transfer-Encoding": "chunked", **headers})
    for byte in body:
        client.send(b"1\r\n" + bytes([byte]) + b"\r\n")
    client.send(b"0\r\n\r\n")
    assert tensors(await client.answer()) == FLOATS
    assert (await client.ask("GET", "/v2")).status == 200


async def test_a_request_that_comes_byte_by_byte(world: Any) -> None:
    body, headers = binary()
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    client = await world.connect()
    for byte in f"POST {PATH} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body:
        client.send(bytes([byte]))
        await asyncio.sleep(0)
    assert tensors(await client.answer()) == FLOATS


async def test_expect_100_continue(world: Any) -> None:
    client = await world.connect()
    client.begin("POST", PATH, {"Content-Length": len(plain()), "Expect": "100-continue"})
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    client.send(plain())
    assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: abc\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length: " + b"9" * 30 + b"\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n",
        b"Transfer-Encoding: gzip\r\n",
    ],
)
async def test_bodies_without_a_certain_end(world: Any, head: bytes) -> None:
    client = await world.connect()
    client.send(b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: test\r\n" + head + b"\r\n{}{}{}")
    assert (await client.reader.readline()).startswith(b"HTTP/1.1 400 ")
    await client.ended()
    assert world.data_plane.requests == []


async def test_a_body_that_says_it_is_too_large_is_not_waited_for(start: Any) -> None:
    world = await start(http_max_body_size=1000)
    assert (await world.ask("POST", PATH, plain())).status == 200
    client = await world.connect()
    client.begin("POST", PATH, {"Content-Length": 1001, "Expect": "100-continue"})
    answer = await client.answer()
    assert answer.status == 400
    assert "request body of 1001 bytes exceeds the maximum allowed 1000 bytes" in answer.error
    assert "--http-max-body-size" in answer.error
    assert answer.headers["connection"] == "close"
    assert await client.ended()


async def test_a_chunked_body_that_grows_too_large(start: Any) -> None:
    world = await start(http_max_body_size=1000)
    client = await world.connect()
    client.begin("POST", PATH, {"Transfer-Encoding": "chunked"})
    client.send(b"3e8\r\n" + bytes(1000) + b"\r\n1\r\n0\r\n")
    answer = await client.answer()
    assert answer.status == 400
    assert "--http-max-body-size" in answer.error
    assert await client.ended()
    assert world.data_plane.requests == []


# Clients that leave.


async def test_a_client_that_leaves_while_its_request_runs(world: Any) -> None:
    client = await world.connect()
    client.post(SLOW, plain())
    await world.data_plane.arrived.wait()
    (future,) = world.data_plane.futures
    assert not future.done()
    client.abort()
    await settled(future.cancelled)


@pytest.mark.parametrize("sent", ["head", "half"])
async def test_a_client_that_leaves_in_the_middle_of_its_body(world: Any, sent: str) -> None:
    for _ in range(20):
        client = await world.connect()
        client.begin("POST", PATH, {"Content-Length": 100})
        client.send(bytes(50 if sent == "half" else 0))
        await client.writer.drain()
        await asyncio.sleep(0)
        client.abort()
    assert (await world.ask("POST", PATH, plain())).status == 200
    assert len(world.data_plane.requests) == 1
    await settled(lambda: world.server.connections == 1)


async def test_an_answer_that_comes_after_its_client_has_gone_is_given_back(world: Any) -> None:
    client = await world.connect()
    client.post(SLOW, plain())
    await world.data_plane.arrived.wait()
    request: InferRequest = world.data_plane.requests[0]
    world.data_plane.futures[0].set_result(world.data_plane.echo(request))
    client.abort()
    await settled(lambda: world.data_plane.released == 1)
