"""How instances are started, against the process that their fork server was started as before anything was read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.instance import forkprocess, share
from pyserver.instance.descendants import VARIABLE, new_mark
from pyserver.instance.forkprocess import Kind
from pyserver.model.launch import Launch
from pyserver.proto.model_config import ModelConfig
from pyserver.repository.folder import ModelFolder
from pyserver.repository.instances import instances
from pyserver.repository.normalise import normalise
from pyserver.settings import Settings


async def kinds(folder: Path, config: ModelConfig, gpus: list[int]) -> set[Kind]:
    """What the instances of a model with `config` would be forked from."""
    normalise(config, gpus)
    launch, model, entries = Launch(Settings()), ModelFolder(config.name, folder, folder.parent), instances(config)
    await launch.equip(model, config, 1, lambda _: None)
    specs = [launch.spec(model, config, "{}", 1, entry, len(entries)) for entry in entries]
    return {Kind.of(spec.interpreter, spec.boot, {**spec.environment, VARIABLE: new_mark()}) for spec in specs}


@pytest.mark.parametrize("gpus", [[], [0], [0, 1]])
async def test_the_usual_model_is_of_the_usual_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: list[int]
) -> None:
    monkeypatch.setattr(forkprocess, "gpus", lambda: gpus)
    monkeypatch.setattr(share, "gpus", lambda: gpus)
    config = ModelConfig(name="m", backend="python")
    assert await kinds(tmp_path / "m", config, gpus) == {Kind.usual()}


async def test_instances_that_share_the_machine_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "gpus", lambda: [0])
    config = ModelConfig(name="m", backend="python")
    config.instance_group.add(kind="KIND_GPU", gpus=[0])
    assert Kind.usual() not in await kinds(tmp_path / "m", config, [0])
