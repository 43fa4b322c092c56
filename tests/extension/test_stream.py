"""What is long to do for a request happens in a thread, and nobody waits for it but the request itself."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from pyserver.errors import ErrorCode, ServerError, invalid
from pyserver.extension import infer as extended
from pyserver.extension.infer import COPY_INLINE, Extended, Limits
from pyserver.extension.stream import ExtendedStream
from pyserver.model.stream import Stream
from pyserver.types import Extension, InferRequest, InferResponse, Part, Tensor

SIZE = COPY_INLINE + 4


class Slow:
    """A region whose reading takes until the test lets it go on."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.holds, self.error = 0, None

    def hold(self) -> Slow:
        self.holds += 1
        return self

    def drop(self) -> None:
        self.holds -= 1

    def read(self, part: Part, view: memoryview) -> None:
        self.begun.set()
        assert self.go_on.wait(10)
        if self.error is not None:
            raise self.error
        view[:] = b"\7" * len(view)


class Block:
    def __init__(self, size: int) -> None:
        self.view, self.released = memoryview(bytearray(size)), 0

    def release(self) -> None:
        self.released += 1


class Told(SimpleNamespace):
    """What a test holds of one request: the region, the block, the model."""


@pytest.fixture
def told() -> Any:
    region = Slow()
    model: Any = SimpleNamespace(name="m", version=1, blocks=[], streams=set(), abandon=lambda stream: None)
    model.reserve = lambda size, header: model.blocks.append(Block(size)) or model.blocks[-1]
    request = InferRequest("m", "1", "id", inputs=[Tensor("X", "UINT8", (SIZE,), b"")])
    request.extension = Extension(inputs={0: Part("r", 0, SIZE)}, outputs={}, classes={})
    regions: Any = SimpleNamespace(find=lambda part: region)
    made = Extended(model, request, regions, Limits())
    yield Told(region=region, model=model, request=request, extended=made)
    region.go_on.set()


async def begun(told: Told) -> None:
    await asyncio.to_thread(told.region.begun.wait, 10)


async def test_nobody_waits_while_much_is_read(told: Told) -> None:
    running: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()
    answer = extended.infer(told.extended, lambda: running)
    await begun(told)
    assert told.request.lease is None, "its memory may be given back by nobody else meanwhile"
    assert told.region.holds == 1
    told.region.go_on.set()
    running.set_result(InferResponse("m", "1", "id"))
    assert (await answer).id == "id"
    assert bytes(told.request.inputs[0].data) == b"\7" * SIZE
    assert (told.region.holds, told.model.blocks[0].released) == (0, 1)


async def test_who_goes_meanwhile_is_not_run_and_the_memory_is_kept_till_the_thread_is_done(told: Told) -> None:
    answer = extended.infer(told.extended, lambda: pytest.fail("nobody waits for it"))
    await begun(told)
    answer.cancel()
    assert (told.region.holds, told.model.blocks[0].released) == (1, 0)
    told.region.go_on.set()
    while told.region.holds:
        await asyncio.sleep(0)
    assert told.model.blocks[0].released == 1


@pytest.mark.parametrize("where", ["reading", "starting"])
async def test_what_fails_is_told(told: Told, where: str) -> None:
    def refuse() -> Any:
        raise invalid("refused")

    told.region.error = invalid("refused") if where == "reading" else None
    told.region.go_on.set()
    with pytest.raises(ServerError, match="refused"):
        await extended.infer(told.extended, refuse)
    assert (told.region.holds, told.model.blocks[0].released) == (0, 1)


async def test_a_stream_begins_when_its_inputs_are_read(told: Told) -> None:
    source = Stream(told.model)
    stream = ExtendedStream(told.extended, lambda: source)
    await begun(told)
    told.region.go_on.set()
    source._pass(InferResponse("m", "1", "one"), False)
    source._pass(InferResponse("m", "1", "two"), True)
    assert [item.response.id async for item in stream] == ["one", "two"]
    assert told.region.holds == 0


async def test_a_stream_that_is_cancelled_meanwhile_never_begins(told: Told) -> None:
    stream = ExtendedStream(told.extended, lambda: pytest.fail("nobody waits for it"))
    await begun(told)
    stream.cancel()
    assert told.region.holds == 1
    told.region.go_on.set()
    assert [item async for item in stream] == []
    while told.region.holds:
        await asyncio.sleep(0)


async def test_a_stream_that_cannot_begin_says_so(told: Told) -> None:
    told.region.error = ServerError(ErrorCode.INVALID_ARG, "has shrunk")
    told.region.go_on.set()
    items = [item async for item in ExtendedStream(told.extended, lambda: pytest.fail("there is nothing to run"))]
    assert [(item.response.error.message, item.response.id, item.final) for item in items] == [
        ("has shrunk", "id", True)
    ]
