"""A stream whose only response comes from a future: the cache's, or the model's by way of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from pyserver.errors import ErrorCode, unavailable
from pyserver.model.items import Item
from pyserver.model.stream import Stream
from pyserver.types import InferResponse


class Lease:
    released = 0

    def release(self) -> None:
        self.released += 1


def following() -> tuple[Stream, asyncio.Future[InferResponse], list[Item]]:
    model: Any = SimpleNamespace(name="m", version=1, streams=set())
    model.abandon = lambda stream: stream.followed.cancel()
    stream = Stream(model)
    model.streams.add(stream)
    future: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()
    stream.follow(future, "q")
    heard: list[Item] = []
    stream.listen(heard.append)
    return stream, future, heard


async def test_the_response_ends_it() -> None:
    stream, future, heard = following()
    response = InferResponse("m", "1", "q")
    future.set_result(response)
    await asyncio.sleep(0)
    assert heard == [Item(response, True)]
    assert stream.ended
    assert not stream.model.streams


async def test_an_error_is_its_response() -> None:
    _, future, heard = following()
    future.set_exception(unavailable("full"))
    await asyncio.sleep(0)
    ((response, final),) = heard
    assert final
    assert response.id == "q"
    assert response.error is not None
    assert response.error.code is ErrorCode.UNAVAILABLE


async def test_cancelling_it_cancels_the_future_and_releases_what_comes() -> None:
    stream, future, heard = following()
    stream.cancel()
    assert future.cancelled()
    await asyncio.sleep(0)
    assert heard == []
    stream, future, heard = following()
    lease = Lease()
    future.set_result(InferResponse("m", "1", "q", lease=lease))
    stream.cancel()
    await asyncio.sleep(0)
    assert (heard, lease.released) == ([], 1)
