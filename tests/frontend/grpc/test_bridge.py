"""The crossing between threads, and what an engine's port has outgoing."""

import asyncio
import threading

from pyserver.frontend.grpc.bridge import Bridge, Crossing
from pyserver.frontend.grpc.engine import Method
from pyserver.frontend.grpc.grpcio_engine import _Call
from pyserver.frontend.grpc.outgoing import LOOK_EVERY, QUIET_LOOKS, unsent, wait_sent


class CountingLoop:
    """A loop that only remembers what was asked of it."""

    def __init__(self):
        self.asked = []

    def call_soon_threadsafe(self, callback):
        self.asked.append(callback)


def test_many_items_one_wake_up():
    loop, delivered = CountingLoop(), []
    crossing = Crossing(loop, delivered.append)
    for item in range(5):
        crossing.post(item)
    crossing.put(5)
    crossing.wake()
    assert len(loop.asked) == 1
    loop.asked[0]()
    assert delivered == [0, 1, 2, 3, 4, 5]
    crossing.wake()
    assert len(loop.asked) == 1
    crossing.post(6)
    assert len(loop.asked) == 2


def test_what_comes_meanwhile_waits_for_the_next_turn():
    loop, delivered = CountingLoop(), []

    def deliver(item):
        delivered.append(item)
        if item == 0:
            crossing.post(2)

    crossing = Crossing(loop, deliver)
    crossing.put(0)
    crossing.post(1)
    loop.asked.pop()()
    assert delivered == [0, 1]
    loop.asked.pop()()
    assert delivered == [0, 1, 2]


def test_one_that_fails_takes_no_other_along(caplog):
    loop, delivered = CountingLoop(), []

    def deliver(item):
        if item == 0:
            raise ZeroDivisionError
        delivered.append(item)

    crossing = Crossing(loop, deliver)
    crossing.put(0)
    crossing.post(1)
    loop.asked.pop()()
    assert delivered == [1]
    assert "a call was lost" in caplog.text


def test_a_closed_loop_is_no_error():
    loop = asyncio.new_event_loop()
    loop.close()
    Crossing(loop, print).post(1)


async def test_nothing_is_lost_between_threads():
    loop, delivered = asyncio.get_running_loop(), []
    crossing = Crossing(loop, delivered.append)

    def post(first):
        for item in range(first, first + 2000):
            crossing.post(item)

    threads = [threading.Thread(target=post, args=(number * 2000,)) for number in range(4)]
    for thread in threads:
        thread.start()
    async with asyncio.timeout(10):
        while len(delivered) < 8000:
            await asyncio.sleep(0.001)
    for thread in threads:
        thread.join()
    assert sorted(delivered) == list(range(8000))
    for number in range(4):
        mine = [item for item in delivered if item // 2000 == number]
        assert mine == sorted(mine)


def method(run, drop=None):
    return Method("/s/M", bytes, run, bytes, drop=drop or (lambda result: None))


def recorded(bridge, method):
    """A call, and what it is answered with: the codes of errors, or results."""
    answers = []
    home = Crossing(bridge.loop, lambda call: answers.append(call.error.code.name if call.error else call.message))
    return _Call(method, b"", bridge, home, 1000, bridge.loop.create_future()), answers


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_call_whose_client_left_before_it_began_is_never_run():
    ran = []
    bridge = Bridge(asyncio.get_running_loop())
    call, answers = recorded(bridge, method(ran.append))
    bridge.put(call)
    call.gone = True
    bridge.post(call)
    await turns(4)
    assert not ran
    assert set(answers) == {"CANCELLED"}


async def test_an_answer_for_nobody_is_dropped():
    dropped = []
    future = asyncio.get_running_loop().create_future()
    call, answers = recorded(Bridge(future.get_loop()), method(lambda request: future, dropped.append))
    call.step()
    future.set_result("late")
    call.gone = True
    call.step()
    await turns(4)
    assert dropped == ["late"]
    assert answers == ["CANCELLED"]


TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F41 00000000:0000 0A 00000005:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F41 0100007F:9999 01 00000010:00000000 01:00000014 00000000     0        0 2 1 0 20 4 30 10 -1
   2: 0100007F:1F41 0100007F:9998 08 00000001:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
   3: 0100007F:1F42 0100007F:9997 01 00000100:00000000 00:00000000 00000000     0        0 4 1 0 20 4 30 10 -1
"""


def test_what_is_outgoing():
    assert unsent(8001, TABLE) == 17
    assert unsent(8002, TABLE) == 256
    assert unsent(8003, TABLE) == 0


def test_waiting_for_it():
    now = 0.0

    def sleep(seconds):
        nonlocal now
        now += seconds

    assert wait_sent(1, 1.0, lambda: now, sleep)
    assert round(now / LOOK_EVERY) == QUIET_LOOKS
    assert not wait_sent(1, 0.0, lambda: now, sleep)
