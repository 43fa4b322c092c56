"""A cached model: what is looked up, kept, counted and cancelled, over a cache that answers when the test says so."""

from __future__ import annotations

import asyncio
import gc

import pytest

from pyserver.cache.cache import Counters, Found
from pyserver.cache.entry import Entry
from pyserver.errors import ServerError, invalid, unavailable
from pyserver.model.cached import CachedModel
from pyserver.model.statistics import Statistics
from pyserver.types import InferRequest, InferResponse, Tensor


class Lease:
    released = 0

    def release(self) -> None:
        self.released += 1


class SlowCache:
    """Answers look-ups from `entries` when `answer` is called."""

    largest = 100
    shared = True

    def __init__(self) -> None:
        self.counters = Counters()
        self.entries: dict[bytes, Entry] = {}
        self.asked: list[tuple[bytes, Found]] = []

    def look_up(self, key: bytes, found: Found) -> None:
        self.asked.append((key, found))

    def insert(self, key: bytes, entry: Entry) -> None:
        self.entries[key] = entry

    def answer(self) -> None:
        asked, self.asked = self.asked, []
        for key, found in asked:
            found(self.entries.get(key))

    async def close(self) -> None:
        pass


class Bench:
    """A cached model whose computing the test does."""

    def __init__(self) -> None:
        self.cache = SlowCache()
        self.now = 0
        self.statistics = Statistics(wall_clock=lambda: 1.0)
        self.computing: list[asyncio.Future[InferResponse]] = []
        self.refusal: ServerError | None = None
        self.model = CachedModel(self.cache, "m", 3, self.statistics, self.compute, self.clock)
        self.model.renew("config")

    def clock(self) -> int:
        self.now += 10
        return self.now

    def compute(self, request: InferRequest, rows: int) -> asyncio.Future[InferResponse]:
        assert rows == 2
        if self.refusal is not None:
            raise self.refusal
        self.computing.append(asyncio.get_running_loop().create_future())
        return self.computing[-1]

    def ask(self, data: bytes = b"abcd", lease: Lease | None = None) -> asyncio.Future[InferResponse]:
        inputs = [Tensor("X", "UINT8", (len(data),), data)]
        answer = self.model.infer(InferRequest("m", id="7", inputs=inputs, lease=lease), 2)
        self.cache.answer()
        return answer

    async def finish(self, data: bytes = b"yyyy") -> Lease:
        """Compute the answer that was asked for last."""
        lease = Lease()
        outputs = [Tensor("Y", "UINT8", (len(data),), memoryview(data))]
        self.computing[-1].set_result(InferResponse("m", "3", "7", outputs, {"a": 1}, lease))
        await asyncio.sleep(0)
        return lease


async def test_a_miss_then_a_hit() -> None:
    bench = Bench()
    first = bench.ask()
    assert not first.done()
    lease = await bench.finish()
    assert lease.released == 0
    first.result().release()
    assert lease.released == 1
    again = Lease()
    second = bench.ask(lease=again).result()
    assert (second.model_name, second.model_version, second.id, second.parameters) == ("m", "3", "7", {"a": 1})
    assert second.outputs == [Tensor("Y", "UINT8", (4,), b"yyyy")]
    assert again.released == 1, "a request that is not executed gives its own memory back"
    assert len(bench.computing) == 1
    counted = bench.statistics.document()["inference_stats"]
    assert (counted["cache_hit"], counted["cache_miss"]) == ({"count": 1, "ns": 10}, {"count": 1, "ns": 20})
    assert counted["success"] == {"count": 1, "ns": 10}
    assert counted["compute_infer"]["count"] == 0
    assert bench.statistics.last_inference_ms == 1000


async def test_errors_are_not_kept() -> None:
    bench = Bench()
    failing = bench.ask()
    bench.computing[0].set_exception(invalid("no"))
    with pytest.raises(ServerError, match="no"):
        await failing
    assert not bench.cache.entries
    bench.refusal = unavailable("full", 1.0)
    with pytest.raises(ServerError, match="full"):
        await bench.ask()
    assert bench.statistics.misses == 2


async def test_what_is_too_large_is_not_copied() -> None:
    bench = Bench()
    answer = bench.ask()
    await bench.finish(bytes(101))
    assert len((await answer).outputs[0].data) == 101
    assert not bench.cache.entries


async def test_cancelling_cancels_what_is_computed() -> None:
    bench = Bench()
    answer = bench.ask()
    assert answer.cancel()
    assert bench.computing[0].cancelled()
    assert not answer.cancel()
    await asyncio.sleep(0)


async def test_cancelled_while_the_cache_is_asked() -> None:
    bench = Bench()
    request = InferRequest("m", inputs=[Tensor("X", "UINT8", (1,), b"a")])
    answer = bench.model.infer(request, 2)
    answer.cancel()
    bench.cache.answer()
    assert bench.computing == []


async def test_cancelled_when_the_answer_has_just_come() -> None:
    bench = Bench()
    answer = bench.ask()
    lease = Lease()
    bench.computing[0].set_result(InferResponse("m", "3", "7", [], None, lease))
    answer.cancel()
    await asyncio.sleep(0)
    assert lease.released == 1


async def test_what_the_model_was_before_is_forgotten() -> None:
    bench = Bench()
    running = bench.ask(b"1")
    bench.model.renew("another config")
    await bench.finish()
    await running
    assert not bench.cache.entries, "it was computed by the model of before"
    bench.ask(b"1")
    await bench.finish()
    assert bench.ask(b"1").done()
    bench.model.renew("config")
    assert not bench.ask(b"1").done()
    bench.model.renew("another config")
    assert bench.ask(b"1").done(), "a shared cache knows it again"
    bench.cache.shared = False
    bench.model.renew("another config")
    assert not bench.ask(b"1").done(), "one of this process alone does not"


async def test_it_leaves_no_cycles() -> None:
    """Of the server's objects: what other tests left to the collector may come to light in between."""
    bench = Bench()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for number in range(3):
            answer = bench.ask(bytes([number]))
            await bench.finish()
            answer.result().release()
            bench.ask(bytes([number])).result().release()
            bench.computing.clear()
            del answer
        gc.collect()
        assert [thing for thing in gc.garbage if type(thing).__module__.startswith("pyserver.")] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
