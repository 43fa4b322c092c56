"""Loads that fail in ways that nobody has foreseen: the index says so, and nothing is left LOADING."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pyserver.controlplane.controlplane import ControlPlane
from pyserver.errors import ErrorCode, ServerError
from pyserver.model.plan import Plan
from pyserver.model.registry import Registry
from pyserver.proto.model_config import ModelConfig
from pyserver.repository.repository import ModelFolder, ModelRepository


class Loader:
    """Plans anything, and fails as it is told."""

    def __init__(self, failure: BaseException | None = None, planning: Exception | None = None) -> None:
        self.failure = failure
        self.planning = planning
        self.began = asyncio.Event()

    async def plan(self, folder: ModelFolder, override: str | None, disk: ModelFolder | None) -> Plan:
        if self.planning is not None:
            raise self.planning
        return Plan(folder, ModelConfig(), (1, 2))

    async def start(self, plan: Plan, report: Any) -> list[Any]:
        self.began.set()
        if self.failure is not None:
            raise self.failure
        return await asyncio.Event().wait()  # type: ignore[return-value]


def control_plane(folder: Path, loader: Loader) -> ControlPlane:
    (folder / "m/1").mkdir(parents=True)
    (folder / "m/1/model.py").write_text("")
    return ControlPlane(Registry(), ModelRepository([folder]), loader, "explicit", 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("failure", [RuntimeError("a slip"), OSError(24, "Too many open files"), KeyError("x")])
async def test_an_unforeseen_failure_is_a_failed_load(
    tmp_path: Path, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    control = control_plane(tmp_path, Loader(failure))
    with pytest.raises(ServerError, match="load failed for model 'm'") as error:
        await control.load("m")
    assert f"{type(failure).__name__}: {failure}" in error.value.message
    assert [(entry["state"], entry["reason"]) for entry in control.index()] == [
        ("UNAVAILABLE", f"Internal: {type(failure).__name__}: {failure}")
    ] * 2
    assert "Traceback" in caplog.text, "it is for the log to say where"


async def test_an_unforeseen_failure_of_a_plan(tmp_path: Path) -> None:
    control = control_plane(tmp_path, Loader(planning=OSError(5, "Input/output error")))
    with pytest.raises(ServerError, match="Input/output error") as error:
        await control.load("m")
    assert error.value.code is ErrorCode.INTERNAL
    (entry,) = control.index()
    assert entry["state"] == "UNAVAILABLE"
    assert "Input/output error" in entry["reason"]


async def test_a_load_whose_caller_goes_is_not_loading_for_ever(tmp_path: Path) -> None:
    loader = Loader()
    control = control_plane(tmp_path, loader)
    task = asyncio.ensure_future(control.load("m"))
    await loader.began.wait()
    assert {entry["state"] for entry in control.index()} == {"LOADING"}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert {(entry["state"], entry["reason"]) for entry in control.index()} == {
        ("UNAVAILABLE", "Unavailable: the load was cancelled")
    }
