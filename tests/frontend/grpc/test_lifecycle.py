"""Start, cancellation, draining and the end, over each engine."""

import asyncio
import os
import socket
import threading
from pathlib import Path

import grpc
import pytest

from pyserver.errors import ServerError
from pyserver.frontend.address import is_loopback
from pyserver.frontend.grpc import native_engine
from pyserver.frontend.grpc.bridge import Bridge
from pyserver.frontend.grpc.engine import STOPPING, Method, Options
from pyserver.frontend.grpc.grpcio_engine import GrpcioEngine
from pyserver.frontend.grpc.server import GrpcServer, choose
from pyserver.proto import health as health_pb
from pyserver.proto import inference as pb
from pyserver.settings import Settings

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


def request(model="held"):
    return pb.ModelInferRequest(model_name=model).SerializeToString()


def code_of(call):
    with pytest.raises(grpc.RpcError) as raised:
        call.result()
    return raised.value.code(), raised.value.details()


async def test_the_engine_is_the_one_asked_for(server, engine):
    assert server.engine == {"grpcio": "grpcio", "native": "pygrpc-native"}[engine]


async def test_a_client_that_cancels(channel, planes):
    call = channel.unary_unary(INFER).future(request())
    await planes.holds(1)
    call.cancel()
    await planes.cancelled(1)


async def test_a_deadline(channel, planes):
    call = channel.unary_unary(INFER).future(request(), timeout=0.3)
    await planes.holds(1)
    assert (await asyncio.to_thread(code_of, call))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    await planes.cancelled(1)


async def test_a_client_that_disconnects(server, planes):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        calls = [channel.unary_unary(INFER).future(request()) for _ in range(3)]
        await planes.holds(3)
    await planes.cancelled(3)
    assert {call.code() for call in calls} == {grpc.StatusCode.CANCELLED}


async def test_an_answer_that_comes_with_the_cancellation_is_released(channel, planes):
    call = channel.unary_unary(INFER).future(request())
    await planes.holds(1)
    planes.answer(*planes.held[0])
    call.cancel()
    async with asyncio.timeout(5):
        while planes.leases[0].released != 1:
            await asyncio.sleep(0.005)


async def test_draining_answers_what_was_accepted(server, channel, planes):
    unary = channel.unary_unary(INFER)
    accepted = unary.future(request(), timeout=20)
    streamed = channel.stream_stream(STREAM)(iter([request()]), timeout=20)
    idle = channel.stream_stream(STREAM)(_never(), timeout=20)
    await planes.holds(2)
    server.stop_accepting()
    late = unary.future(request("identity"), timeout=5)
    assert await asyncio.to_thread(code_of, late) == (grpc.StatusCode.UNAVAILABLE, STOPPING)
    draining = asyncio.ensure_future(server.drain(10))
    assert (await asyncio.to_thread(_end, idle)) == (grpc.StatusCode.UNAVAILABLE, STOPPING)
    assert not draining.done()
    for held in planes.held:
        planes.answer(*held)
    assert pb.ModelInferResponse.FromString(await asyncio.to_thread(accepted.result)).model_name == "held"
    (message,) = [pb.ModelStreamInferResponse.FromString(await asyncio.to_thread(next, streamed))]
    assert message.infer_response.model_name == "held"
    await draining
    assert [lease.released for lease in planes.leases] == [1, 1]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port)).close()


async def test_a_large_answer_leaves_before_the_end(server, channel, planes):
    asked = pb.ModelInferRequest(model_name="held")
    asked.inputs.add(name="X", datatype="UINT8", shape=[32 << 20])
    asked.raw_input_contents.append(bytes(32 << 20))
    call = channel.unary_unary(INFER).future(asked.SerializeToString(), timeout=30)
    await planes.holds(1)
    server.stop_accepting()
    draining = asyncio.ensure_future(server.drain(20))
    planes.answer(*planes.held[0])
    assert len(await asyncio.to_thread(call.result)) > 32 << 20
    await draining


@pytest.mark.parametrize("size", [16, 1 << 20, 4 << 20])
async def test_what_an_answer_holds_is_given_back_on_the_main_loop(channel, planes, size):
    asked = pb.ModelInferRequest(model_name="identity", raw_input_contents=[bytes(size)])
    asked.inputs.add(name="X", datatype="UINT8", shape=[size])
    message = asked.SerializeToString()
    calls = [channel.unary_unary(INFER).future(message, timeout=30) for _ in range(4)]
    for call in calls:
        assert len(await asyncio.to_thread(call.result)) > size
    stream = channel.stream_stream(STREAM)(iter([message] * 4), timeout=30)
    assert len(await asyncio.to_thread(list, stream)) == 4
    await asyncio.sleep(0)
    assert [(lease.released, lease.strays) for lease in planes.leases] == [(1, 0)] * 8


async def test_draining_takes_no_longer_than_it_may(server, channel, planes, caplog):
    calls = [channel.unary_unary(INFER).future(request(), timeout=20) for _ in range(2)]
    await planes.holds(2)
    server.stop_accepting()
    async with asyncio.timeout(5):
        await server.drain(0.1)
    for call in calls:
        code, _ = await asyncio.to_thread(code_of, call)
        assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert "gRPC calls were still running" in caplog.text


async def test_watching_the_health(server, channel, planes):
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)

    async def next_status():
        return health_pb.HealthCheckResponse.FromString(await asyncio.to_thread(next, watch)).status

    assert await next_status() == health_pb.HealthCheckResponse.SERVING
    planes.alive = False
    assert await next_status() == health_pb.HealthCheckResponse.NOT_SERVING
    planes.alive = True
    assert await next_status() == health_pb.HealthCheckResponse.SERVING
    server.stop_accepting()
    assert await next_status() == health_pb.HealthCheckResponse.NOT_SERVING
    assert (await asyncio.to_thread(_end, watch))[0] is grpc.StatusCode.UNAVAILABLE


async def test_a_port_in_use(planes, engine):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = GrpcServer(planes, planes, Settings(grpc_port=port, grpc_engine=engine))
        with pytest.raises(ServerError, match=f"Socket '127.0.0.1:{port}' already in use"):
            await server.start()


async def test_an_address_that_is_not_ours(planes, engine):
    server = GrpcServer(planes, planes, Settings(grpc_address="192.0.2.1", grpc_port=0, grpc_engine=engine))
    with pytest.raises(ServerError, match=r"Socket '192\.0\.2\.1:0' can't be listened on"):
        await server.start()


async def test_ipv6(planes, engine):
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    server = GrpcServer(planes, planes, Settings(grpc_address="::1", grpc_port=0, grpc_engine=engine))
    await server.start()
    with grpc.insecure_channel(f"[::1]:{server.port}") as channel:
        assert await asyncio.to_thread(channel.unary_unary(INFER), request("identity"), timeout=10)
    await server.drain(1)


async def test_nothing_is_left_behind(planes, engine):
    async def live():
        server = GrpcServer(planes, planes, Settings(grpc_port=0, grpc_engine=engine))
        await server.start()
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            await asyncio.to_thread(channel.unary_unary(INFER), request("identity"), timeout=10)
        server.stop_accepting()
        await server.drain(1)

    def threads():
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("grpc")]

    await live()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await live()
    async with asyncio.timeout(10):  # the client's library closes its sockets in its own time
        while threads() or len(os.listdir("/proc/self/fd")) > before:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("engine", ["native"], indirect=True)
async def test_messages_over_the_limit(channel, planes, monkeypatch):
    monkeypatch.setattr(native_engine, "MAX_MESSAGE", 1000)
    call = channel.unary_unary(INFER)
    asked = pb.ModelInferRequest(model_name="identity", id="x" * 990).SerializeToString()
    assert await asyncio.to_thread(code_of, call.future(asked)) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"Received message larger than max ({len(asked)} vs. 1000)",
    )
    asked = pb.ModelInferRequest(model_name="identity")
    asked.inputs.add(name="X", datatype="UINT8", shape=[950])
    asked.raw_input_contents.append(bytes(950))
    asked.id = "x" * (998 - asked.ByteSize())  # the answer, whose output is OUT_X and which has a version, is longer
    code, text = await asyncio.to_thread(code_of, call.future(asked.SerializeToString()))
    assert code is grpc.StatusCode.INTERNAL
    assert "exceeds gRPC's byte size limit 1000" in text
    assert [lease.released for lease in planes.leases] == [1]


async def test_gzip_inflates_to_the_limit_and_no_further():
    """So does grpcio, which is why a limit is its business; pygrpc-native has none."""
    limited = Options(max_message=1 << 20)
    with pytest.raises(ServerError, match="does not serve max_message"):
        choose("native", limited, Bridge(asyncio.get_running_loop()))
    engine = choose("auto", limited, Bridge(asyncio.get_running_loop()))
    try:
        echo = Method("/s/Echo", len, lambda size: size, lambda size: b"%d" % size)
        port = await asyncio.to_thread(engine.start, "127.0.0.1", 0, [echo], [], limited)
        with grpc.insecure_channel(f"127.0.0.1:{port}", compression=grpc.Compression.Gzip) as channel:
            call = channel.unary_unary("/s/Echo")
            assert await asyncio.to_thread(call, bytes(1 << 20), timeout=30) == b"1048576"
            code, _ = await asyncio.to_thread(code_of, call.future(bytes((1 << 20) + 1), timeout=30))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        await asyncio.to_thread(engine.stop)


@pytest.mark.parametrize(("address", "own"), [
    ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
    ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("host.example", False),
])  # fmt: skip
def test_who_can_connect(address, own):
    assert is_loopback(address) is own


@pytest.mark.parametrize("own", [True, False])
async def test_who_listens_to_others_hears_that_gzip_has_no_limit(planes, engine, own, monkeypatch, caplog):
    monkeypatch.setattr("pyserver.frontend.grpc.server.is_loopback", lambda address: own)
    server = GrpcServer(planes, planes, Settings(grpc_port=0, grpc_engine=engine))
    await server.start()
    await server.drain(0)
    assert (native_engine.INFLATES in caplog.text) is (engine == "native" and not own)


async def test_which_engine_is_taken(monkeypatch):
    bridge = Bridge(asyncio.get_running_loop())
    assert choose("auto", Options(), bridge).name == "pygrpc-native"
    assert choose("grpcio", Options(), bridge).name == "grpcio"
    aged = Options(max_connection_age_ms=1000)
    assert choose("auto", aged, bridge).name == "grpcio"
    with pytest.raises(ServerError, match="does not serve max_connection_age_ms"):
        choose("native", aged, bridge)
    monkeypatch.setattr(native_engine, "native", None)
    assert choose("auto", Options(), bridge).name == "grpcio"
    with pytest.raises(ServerError, match="pygrpc-native is not installed"):
        choose("native", Options(), bridge)


def _never():
    """A client that opens a stream and says nothing."""
    threading.Event().wait(5)
    yield from ()


def _end(call):
    with pytest.raises(grpc.RpcError):
        list(call)
    return call.code(), call.details()


@pytest.mark.parametrize(("name", "exposed"), [("auto", True), ("grpcio", False), ("grpcio", True)])
async def test_other_hosts_are_served_by_the_engine_that_limits_gzip(name, exposed):
    bridge = Bridge(asyncio.get_running_loop())
    assert isinstance(choose(name, Options(), bridge, exposed), GrpcioEngine)
