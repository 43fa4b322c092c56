"""What one client may take of the gRPC front end, and the flags of HTTP/2."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields
from typing import Any

import grpc
import pytest

from pyserver.frontend.grpc.engine import Options
from pyserver.frontend.grpc.grpcio_options import channel_options
from pyserver.frontend.grpc.server import GrpcServer, options_of
from pyserver.proto import inference as pb
from pyserver.settings import Settings

INFER = "/inference.GRPCInferenceService/ModelInfer"
Start = Callable[..., Awaitable[grpc.Channel]]


@pytest.fixture
async def start(planes: Any) -> AsyncIterator[Start]:
    servers: list[GrpcServer] = []
    channels: list[grpc.Channel] = []

    async def one(**settings: Any) -> grpc.Channel:
        server = GrpcServer(planes, planes, Settings(grpc_port=0, **settings))
        await server.start()
        servers.append(server)
        channels.append(grpc.insecure_channel(f"127.0.0.1:{server.port}"))
        return channels[-1]

    yield one
    for channel in channels:
        channel.close()
    for server in servers:
        await server.drain(0)


def message(model: str, size: int = 0) -> bytes:
    made: Any = pb.ModelInferRequest(model_name=model, raw_input_contents=[bytes(size)] if size else [])
    if size:
        made.inputs.add(name="X", datatype="UINT8", shape=[size])
    encoded: bytes = made.SerializeToString()
    return encoded


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(call.result, 15)
    return caught.value.code(), caught.value.details()


async def test_calls_of_one_connection(start: Start, planes: Any, engine: str) -> None:
    channel = await start(grpc_engine=engine, grpc_max_concurrent_streams=2)
    infer = channel.unary_unary(INFER)
    first = infer.future(message("held"), timeout=20)
    await planes.holds(1)  # the client has heard of the limit by now
    others = [infer.future(message("held"), timeout=20) for _ in range(3)]
    await planes.holds(2)
    await asyncio.sleep(0.1)
    assert len(planes.held) == 2
    for held in list(planes.held):
        planes.answer(*held)
    await asyncio.to_thread(first.result, 15)
    # One was held beside the first, and grpc-core may refuse one, against rapid resets; the others had to wait.
    ended = Counter(call.code() for call in others if call.done())
    assert ended <= Counter([grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE])
    await planes.holds(3)


async def test_connections_beyond_the_limit_are_closed(planes: Any) -> None:
    server = GrpcServer(planes, planes, Settings(grpc_port=0, grpc_max_connections=2))
    await server.start()
    assert server.engine == "grpcio"
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, 10) as first, socket.create_connection(address, 10) as second:
        assert await asyncio.to_thread(first.recv, 9)  # HTTP/2's settings
        assert await asyncio.to_thread(second.recv, 9)
        with socket.create_connection(address, 10) as third:
            assert await asyncio.to_thread(third.recv, 9) == b""
    await server.drain(0)


async def test_metadata_that_is_too_large(start: Start, engine: str) -> None:
    channel = await start(grpc_engine=engine, grpc_max_metadata_size=4096)
    live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
    fine = live.future(b"", timeout=10, metadata=[("x", "a" * 2000)])
    await asyncio.to_thread(fine.result, 10)
    code, _ = await refusal(live.future(b"", timeout=10, metadata=[("x", "a" * 5000)]))
    # The native engine refuses it in HTTP's way, by 431, which grpcio doesn't know.
    assert code is {"grpcio": grpc.StatusCode.RESOURCE_EXHAUSTED, "native": grpc.StatusCode.UNKNOWN}[engine]
    await asyncio.to_thread(live.future(b"", timeout=10).result, 10)


async def test_a_message_that_is_too_large(start: Start) -> None:
    channel = await start(grpc_max_message_size=100_000)
    infer = channel.unary_unary(INFER)
    code, says = await refusal(infer.future(message("identity", 100_000), timeout=10))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in says
    await asyncio.to_thread(infer.future(message("identity", 90_000), timeout=10).result, 10)


async def test_an_inflated_message_counts_as_what_it_inflates_to(start: Start) -> None:
    channel = await start(grpc_max_message_size=1_000_000)
    infer = channel.unary_unary(INFER)
    bomb = message("identity", 16 << 20)  # some 16 KiB on the wire
    code, _ = await refusal(infer.future(bomb, timeout=10, compression=grpc.Compression.Gzip))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_connections_end_with_age(start: Start, planes: Any) -> None:
    channel = await start(grpc_max_connection_age=300, grpc_max_connection_age_grace=10_000)
    seen: list[grpc.ChannelConnectivity] = []
    channel.subscribe(seen.append, try_to_connect=True)
    call = channel.unary_unary(INFER).future(message("held"), timeout=20)
    await planes.holds(1)
    async with asyncio.timeout(10):
        while grpc.ChannelConnectivity.IDLE not in seen[1:]:
            await asyncio.sleep(0.02)
    planes.answer(*planes.held[0])  # what was begun is answered in its time of grace
    await asyncio.to_thread(call.result, 10)


def test_every_option_has_its_flag() -> None:
    flags = {
        "max_message": "grpc_max_message_size", "max_metadata": "grpc_max_metadata_size",
        "max_concurrent_streams": "grpc_max_concurrent_streams", "max_connections": "grpc_max_connections",
        "keepalive_time_ms": "grpc_keepalive_time",
        "keepalive_timeout_ms": "grpc_keepalive_timeout",
        "max_pings_without_data": "grpc_http2_max_pings_without_data",
        "min_recv_ping_interval_without_data_ms": "grpc_http2_min_recv_ping_interval_without_data",
        "max_ping_strikes": "grpc_http2_max_ping_strikes", "max_connection_age_ms": "grpc_max_connection_age",
        "max_connection_age_grace_ms": "grpc_max_connection_age_grace",
    }  # fmt: skip
    for option, flag in flags.items():
        assert getattr(options_of(Settings(**{flag: 77})), option) == 77
        assert 77 in dict(channel_options(options_of(Settings(**{flag: 77})))).values()
    assert options_of(Settings(grpc_keepalive_permit_without_calls=True)).keepalive_permit_without_calls
    assert options_of(Settings(reuse_grpc_port=True)).reuse_port
    assert options_of(Settings()) == Options()
    others = {"handshake_timeout_ms", "compression", "tls", "reuse_port", "keepalive_permit_without_calls"}
    assert {field.name for field in fields(Options)} == {*flags, *others}
