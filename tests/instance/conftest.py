"""Instances over the fake stub, and what they must leave behind: nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pyserver.errors import ServerError
from pyserver.instance.instance import Instance
from pyserver.instance.memory import RequestMemory
from pyserver.instance.spec import InstanceSpec
from pyserver.payload import Payload, Pending, Timing
from pyserver.types import InferRequest, InferResponse, Tensor

FAKE_STUB = str(Path(__file__).parent / "fake_stub.py")


def make_spec(**config: Any) -> InstanceSpec:
    return InstanceSpec(
        name="m_0_0",
        kind="CPU",
        device_id="0",
        model_name="m",
        version=1,
        model_directory="/models/m",
        version_directory="/models/m/1",
        model_file="/models/m/1/model.py",
        backend_directory="",
        config_json=json.dumps(config),
        interpreter=sys.executable,
        environment={"PATH": os.environ["PATH"]},
        boot=FAKE_STUB,
    )


class Owner:
    """A scheduler that only writes down what it hears."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []
        self.answers: dict[Pending, list[InferResponse]] = {}
        self.errors: dict[Pending, ServerError] = {}
        self.finished: set[Pending] = set()
        self.timings: dict[Payload, Timing | None] = {}
        self.back: list[Payload] = []
        self._heard = asyncio.Event()

    def answered(self, pending: Pending, response: InferResponse, final: bool) -> None:
        assert pending not in self.finished
        self.answers.setdefault(pending, []).append(response)
        if final:
            self.finished.add(pending)
        self._heard.set()

    def failed(self, pending: Pending, error: ServerError) -> None:
        assert pending not in self.finished
        self.finished.add(pending)
        self.errors[pending] = error
        self._heard.set()

    def executed(self, payload: Payload, timing: Timing | None) -> None:
        assert payload not in self.timings
        self.timings[payload] = timing
        self._heard.set()

    def returned(self, payload: Payload) -> None:
        self.back.append(payload)
        self._heard.set()

    async def until(self, condition: Any, timeout: float = 10.0) -> None:
        """Wait for something to be heard that makes `condition()` true."""
        deadline = asyncio.get_running_loop().time() + timeout
        while not condition():
            self._heard.clear()
            await asyncio.wait_for(self._heard.wait(), deadline - asyncio.get_running_loop().time())

    async def heard(self, *payloads: Payload) -> None:
        """Wait until all is said about `payloads`."""
        await self.until(lambda: all(payload in self.timings or payload in self.back for payload in payloads))

    def release(self) -> None:
        for responses in self.answers.values():
            for response in responses:
                response.release()


def make_request(*tensors: Tensor, **fields: Any) -> InferRequest:
    return InferRequest("m", inputs=list(tensors), **fields)


def floats(name: str, data: bytes) -> Tensor:
    return Tensor(name, "FP32", (1, len(data) // 4), data)


def make_payload(owner: Owner, *requests: InferRequest) -> Payload:
    return Payload([Pending(request, None, 0, 1, 0) for request in requests], owner)  # type: ignore[arg-type]


def ask(owner: Owner, do: str, **parameters: Any) -> Payload:
    """A payload of one request that wants something of the fake stub."""
    return make_payload(owner, make_request(parameters={"do": do, **parameters}))


def descriptors() -> list[str]:
    """What this process has open, but for memory: that stays as long as somebody looks into it."""
    opened = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            opened.append(os.readlink(f"/proc/self/fd/{fd}").split(":")[0])
        except FileNotFoundError:  # the folder itself, listed
            pass
    return sorted(name for name in opened if name != "/memfd")


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
async def memory() -> AsyncIterator[RequestMemory]:
    """Request memory; the test fails if a block, a slot, a descriptor, a task or a process is left at its end."""
    before = descriptors()
    memory = RequestMemory("m", 64 << 20, 1 << 30)
    slots = sorted(memory.slots)
    yield memory
    assert memory.arena.blocks == 0
    assert sorted(memory.slots) == slots
    assert not any(memory.cancelled)
    memory.close()
    await asyncio.get_running_loop().shutdown_default_executor()  # who looks for descendants reads /proc
    assert descriptors() == before
    assert children() == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
async def instance(memory: RequestMemory) -> AsyncIterator[Instance]:
    """A ready instance; stopped at the end if the test did not kill it."""
    instance = await ready(memory)
    yield instance
    await instance.stop(5.0)
    assert instance.gone


async def ready(memory: RequestMemory, **config: Any) -> Instance:
    instance = Instance(make_spec(**config), memory, time.monotonic_ns, lambda instance: None)
    assert await instance.start() is None
    await instance.initialize()
    return instance
