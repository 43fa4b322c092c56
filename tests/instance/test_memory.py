"""Request memory, and what is left of shared memory when all is over."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
import time
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from pyserver.core.tensor import address
from pyserver.instance.instance import Instance
from pyserver.instance.link import PROMPT_BYTES, Link
from pyserver.instance.memory import RequestMemory
from pyserver.instance.responses import RowLease, RowsBlock
from pyserver.ipc import channel
from pyserver.ipc.arena import IDLE_NS
from pyserver.ipc.messages import pack_free
from pyserver.ipc.words import CANCEL_SLOTS
from tests.instance.conftest import Owner, ask, children, floats, make_payload, make_request, make_spec


@pytest.mark.parametrize("header", [0, 1, 63, 64, 65, 1000])
async def test_a_reserved_block_is_aligned_where_the_header_ends(memory: RequestMemory, header: int) -> None:
    block = memory.reserve(header + 100, header)
    assert block is not None
    assert len(block.view) == header + 100
    assert address(block.view[header:]) % 64 == 0
    block.release()


async def test_a_block_is_free_when_all_who_hold_it_are_done(memory: RequestMemory) -> None:
    block = memory.reserve(100, 0)
    assert block is not None
    block.hold()
    block.release()
    block.release()
    assert memory.arena.blocks == 1
    block.drop()
    assert memory.arena.blocks == 0


async def test_no_room_is_no_block(memory: RequestMemory) -> None:
    assert memory.reserve(65 << 20, 0) is None


async def test_a_block_of_several_answers_goes_back_with_the_last_of_them() -> None:
    here, there = channel.pair()
    link = Link(here, lambda _: False, pytest.fail, lambda: None)
    block = RowsBlock(link, 4096, 2 * PROMPT_BYTES, 2)
    first, second = RowLease(block), RowLease(block)
    first.release()
    first.release()
    await asyncio.sleep(0)
    with pytest.raises(BlockingIOError):
        there.recv(1, socket.MSG_DONTWAIT)
    second.release()
    await asyncio.sleep(0)
    assert there.recv(1024) == pack_free([4096])
    link.close()
    there.close()


async def test_idle_memory_goes_back(memory: RequestMemory) -> None:
    block = memory.reserve(10 << 20, 0)
    assert block is not None
    block.release()
    memory.trim(IDLE_NS)
    memory.trim(2 * IDLE_NS)
    assert memory.arena.held == 0


async def test_slots_begin_at_one(memory: RequestMemory) -> None:
    assert sorted(memory.slots) == list(range(1, CANCEL_SLOTS))


def memfds() -> int:
    with open("/proc/self/maps") as maps:
        return sum("/memfd:pyserver" in line for line in maps)


async def everything() -> None:
    """A whole life, with a death in it, and late leases."""
    memory = RequestMemory("m", 64 << 20)
    owner = Owner()
    for do in ("kill", "sleep"):
        instance = Instance(make_spec(), memory, time.monotonic_ns, lambda instance: None)
        await instance.start()
        await instance.initialize()
        payloads = [make_payload(owner, make_request(floats("A", struct.pack("<f", n)))) for n in range(100)]
        payloads.append(ask(owner, do, seconds=0.01))
        for payload in payloads:
            instance.execute(payload)
        await owner.heard(*payloads)
        await instance.stop(5.0)
    memory.close()
    assert len(owner.answers) == 201
    owner.release()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_nothing_is_left(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    run(asyncio.sleep(0))  # what a first loop opens once and for all
    gc.collect()
    before, mapped = len(os.listdir("/proc/self/fd")), memfds()
    run(everything())
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert memfds() == mapped
    assert children() == []
