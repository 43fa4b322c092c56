"""Compression both ways, over REST and gRPC, and bodies that inflate to more than they should."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http

from tests.conftest import Serve
from tests.support.clients import ask, one_input
from tests.support.repositories import MODELS
from tools.process import ServerProcess

ROWS = np.tile(np.arange(50, dtype=np.float32), (8, 400))
LIMIT = 1 << 20
BOMB = gzip.compress(bytes(64 << 20), 9)


@pytest.fixture(scope="module")
def server(make_server: Serve) -> Iterator[ServerProcess]:
    options = (f"--http-max-input-size={LIMIT}", "--grpc-infer-response-compression-level=medium")
    with make_server(MODELS, options=options) as running:
        yield running


@pytest.mark.parametrize("asked", ["gzip", "deflate"])
@pytest.mark.parametrize("answered", ["gzip", "deflate", None])
def test_tritonclient_over_rest(server: ServerProcess, asked: str, answered: str | None) -> None:
    how: dict[str, Any] = {"request_compression_algorithm": asked, "response_compression_algorithm": answered}
    with triton_http.InferenceServerClient(server.http) as client:
        for rows in (ROWS[:1, :10], ROWS):
            result = client.infer("batching", [one_input("INPUT", rows, "FP32")], **how)
            assert np.array_equal(result.as_numpy("OUTPUT"), rows)


@pytest.mark.ours
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v2/models/batching/infer", {}),
        ("/v2/models/batching/infer", {"Transfer-Encoding": "chunked"}),
        ("/v2/models/batching/generate", {}),
        ("/v2/models/batching/generate_stream", {}),
        ("/v1/models/batching:predict", {}),
    ],
)
def test_a_bomb_stops_at_the_limit(server: ServerProcess, path: str, headers: dict[str, str]) -> None:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BOMB), BOMB) if headers else BOMB
    answer = ask(server, "POST", path, body, {"Content-Encoding": "gzip", **headers})
    assert answer.status == 400, answer
    assert f"inflates to more than {LIMIT} bytes" in answer.error


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"{}")[:-3], zlib.compress(b"{}")])
def test_what_is_no_gzip(server: ServerProcess, body: bytes) -> None:
    answer = ask(server, "POST", "/v2/models/batching/infer", body, {"Content-Encoding": "gzip"})
    assert answer.status == 400


@pytest.mark.ours
@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "zstd"])
def test_codings_that_are_not_known(server: ServerProcess, coding: str) -> None:
    answer = ask(server, "POST", "/v2/models/batching/infer", b"{}", {"Content-Encoding": coding})
    assert (answer.status, answer.headers["accept-encoding"]) == (501, "gzip, deflate")
    assert "Unsupported compression type" in answer.error


def test_errors_and_metadata_are_plain(server: ServerProcess) -> None:
    for path in ("/v2", "/v2/models/batching/stats", "/v2/models/nope"):
        answer = ask(server, "GET", path, headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in answer.headers
        json.loads(answer.body)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_over_grpc(server: ServerProcess, algorithm: str) -> None:
    given = triton_grpc.InferInput("INPUT", list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS)
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        result = client.infer("batching", [given], compression_algorithm=algorithm)
        assert np.array_equal(result.as_numpy("OUTPUT"), ROWS)


@asynccontextmanager
async def counting(address: str) -> AsyncIterator[tuple[str, list[int]]]:
    """A relay to `address`: where it listens, and how many bytes each read of an answer had."""
    counts: list[int] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, noted: list[int]) -> None:
        while data := await reader.read(1 << 16):
            noted.append(len(data))
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*address.split(":"))
        await asyncio.gather(pipe(reader, back, []), pipe(there, writer, counts), return_exceptions=True)
        for each in (writer, back):
            each.close()
            await asyncio.gather(each.wait_closed(), return_exceptions=True)
        relayed.set()

    relayed = asyncio.Event()
    async with await asyncio.start_server(relay, "127.0.0.1", 0) as listening:
        host, port = listening.sockets[0].getsockname()
        yield f"{host}:{port}", counts
        await relayed.wait()


@pytest.mark.ours
async def test_grpc_responses_are_compressed_where_the_flag_says_so(server: ServerProcess) -> None:
    def ask_through(address: str) -> None:
        given = triton_grpc.InferInput("INPUT", list(ROWS.shape), "FP32")
        given.set_data_from_numpy(ROWS)
        with triton_grpc.InferenceServerClient(address) as client:
            result = client.infer("batching", [given])
            assert np.array_equal(result.as_numpy("OUTPUT"), ROWS)

    async with counting(server.grpc) as (address, counts):
        await asyncio.to_thread(ask_through, address)
    assert 0 < sum(counts) < ROWS.nbytes / 4
