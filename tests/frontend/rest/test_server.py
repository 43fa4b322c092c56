import asyncio
import json
import re
from dataclasses import fields
from typing import Any

import pytest

from pyserver.errors import ServerError
from pyserver.frontend.rest.limits import Limits
from pyserver.frontend.rest.server import RestServer, limits_of
from pyserver.settings import Settings


@pytest.fixture
def kind() -> type[RestServer]:
    return RestServer


SLOW = "/v2/models/slow/infer"
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [5]}]}).encode()


async def refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


def test_every_limit_has_its_flag() -> None:
    flags = {field.name: f"{field.name}" for field in fields(Limits)} | {
        "stall_timeout": "read_timeout",
        "max_load_size": "",
        "max_request_line": "",
    }
    for limit, flag in flags.items():
        if flag:
            name = f"http_{flag}_secs" if flag.endswith("timeout") else f"http_{flag}"
            assert getattr(limits_of(Settings(**{name: 7})), limit) == 7, limit
    assert limits_of(Settings(max_load_size=7)).max_load_size == 7
    assert limits_of(Settings(http_max_json_depth=10**6)).max_json_depth == 1000
    assert limits_of(Settings()) == Limits()


async def test_a_port_that_is_taken(world: Any) -> None:
    port = world.server.port
    other = RestServer(world.data_plane, world.control_plane, Settings(http_port=port))
    with pytest.raises(ServerError, match=re.escape(f"Socket '127.0.0.1:{port}' already in use")):
        await other.start()


async def test_an_address_that_is_not_ours(world: Any) -> None:
    other = RestServer(world.data_plane, world.control_plane, Settings(http_port=0, http_address="192.0.2.1"))
    with pytest.raises(ServerError, match=re.escape("Socket '192.0.2.1:0' can't be listened on: ")):
        await other.start()


async def test_a_shared_port(start: Any) -> None:
    world = await start(reuse_http_port=True)
    other = RestServer(
        world.data_plane, world.control_plane, Settings(http_port=world.server.port, reuse_http_port=True)
    )
    await other.start()
    assert other.port == world.server.port
    other.stop_accepting()
    await other.drain(0.0)


async def test_what_rests_is_closed_and_what_runs_is_answered(world: Any) -> None:
    resting = await world.connect()
    assert (await resting.ask("GET", "/v2")).status == 200
    fresh = await world.connect()
    running = await world.connect()
    asking = asyncio.ensure_future(running.ask("POST", SLOW, BODY))
    await world.data_plane.arrived.wait()
    world.server.stop_accepting()
    assert await refused(world.server.port)
    draining = asyncio.ensure_future(world.server.drain(30.0))
    assert await resting.ended()
    assert await fresh.ended()
    assert not draining.done()
    world.data_plane.futures[0].set_result(world.data_plane.echo(world.data_plane.requests[0]))
    answer = await asking
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    await draining
    assert await running.ended()


async def test_a_request_that_is_still_coming_is_waited_for(world: Any) -> None:
    client = await world.connect()
    client.begin("POST", "/v2/repository/index", {"Content-Length": 2})
    client.send(b"{")
    resting = await world.connect()
    world.server.stop_accepting()
    draining = asyncio.ensure_future(world.server.drain(30.0))
    assert await resting.ended()
    client.send(b"}")
    assert (await client.answer()).status == 200
    await draining


async def test_what_takes_too_long_is_cut(world: Any) -> None:
    client = await world.connect()
    client.post(SLOW, BODY)
    await world.data_plane.arrived.wait()
    world.server.stop_accepting()
    await world.server.drain(0.01)
    assert await client.ended()
    await asyncio.wait(world.data_plane.futures, timeout=5.0)
    assert world.data_plane.futures[0].cancelled()


async def test_nothing_to_drain(world: Any) -> None:
    world.server.stop_accepting()
    await asyncio.wait_for(world.server.drain(30.0), 5.0)
    assert await refused(world.server.port)


async def test_a_client_that_hangs_up_does_not_hold_the_end(world: Any) -> None:
    client = await world.connect()
    client.post(SLOW, BODY)
    await world.data_plane.arrived.wait()
    world.server.stop_accepting()
    draining = asyncio.ensure_future(world.server.drain(30.0))
    client.abort()
    await asyncio.wait_for(draining, 5.0)


async def test_the_port_is_free_again_at_once(start: Any) -> None:
    world = await start()
    client = await world.connect()
    await client.ask("GET", "/v2")
    world.server.stop_accepting()
    await world.server.drain(1.0)
    again = await start_on(world, world.server.port)
    assert again.port == world.server.port
    again.stop_accepting()
    await again.drain(0.0)


async def start_on(world: Any, port: int) -> RestServer:
    server = RestServer(world.data_plane, world.control_plane, Settings(http_port=port))
    await server.start()
    return server
