"""Levels of the log that change while models run: a stub says no more than will be read."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pyserver.instance.instance import Instance
from pyserver.instance.log_levels import EVERY, heard
from pyserver.instance.memory import RequestMemory
from pyserver.instance.services import NoServices
from pyserver.instance.spec import BOOT
from tests.instance.conftest import Owner, make_payload, make_request, make_spec

SOURCE = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        Logger = pb_utils.Logger
        for say in (Logger.log_verbose, Logger.log_info, Logger.log_warn, Logger.log_error):
            say(say.__name__)
        try:
            Logger.log(3, Logger.VERBOSE)
        except TypeError:
            return [pb_utils.InferenceResponse([]) for _ in requests]
"""
SAID = ["log_verbose", "log_info", "log_warn", "log_error"]


@asynccontextmanager
async def running(folder: Path, memory: RequestMemory, services: NoServices) -> AsyncIterator[Instance]:
    (folder / "model.py").write_text(SOURCE)
    places = {"version_directory": str(folder), "model_directory": str(folder), "model_file": str(folder / "model.py")}
    spec = replace(make_spec(), boot=BOOT, **places)
    instance = Instance(spec, memory, time.monotonic_ns, lambda _: None, services)
    await instance.start()
    await instance.initialize()
    try:
        yield instance
    finally:
        await instance.stop(5)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (EVERY, SAID),
        (heard(verbose=0, info=True, warning=True, error=True), SAID[1:]),
        (heard(verbose=0, info=False, warning=True, error=False), ["log_warn"]),
        ((), []),
    ],
)
async def test_a_model_obeys_from_its_start_and_after_a_change(
    tmp_path: Path,
    memory: RequestMemory,
    owner: Owner,
    caplog: pytest.LogCaptureFixture,
    levels: tuple[int, ...],
    expected: list[str],
) -> None:
    caplog.set_level(logging.DEBUG, "pyserver.model")
    services = NoServices()
    services.log_levels.change(levels)

    async def said(instance: Instance) -> list[str]:
        caplog.clear()
        payload = make_payload(owner, make_request())
        instance.execute(payload)
        await owner.heard(payload)
        return [record.args[2] for record in caplog.records if record.name == "pyserver.model"]  # type: ignore[index,misc]

    async with running(tmp_path, memory, services) as instance:
        assert await said(instance) == expected
        services.log_levels.change(EVERY)
        assert await said(instance) == SAID
        services.log_levels.change(levels)
        assert await said(instance) == expected
    assert not services.log_levels._listeners, "who is gone is told no more"
