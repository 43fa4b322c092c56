"""Which GPUs there are, by the device nodes and CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.errors import ServerError
from pyserver.proto import model_config
from pyserver.repository import devices


@pytest.mark.parametrize(("visible", "known"), [(None, [0, 1]), ("", []), ("-1", []), ("1", [0]), ("0,1,2", [0, 1])])
def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, known: list[int]) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(devices.VISIBLE, visible)
    assert devices.gpus(tmp_path) == known
    assert devices.gpus(tmp_path / "nowhere") == []


def test_check() -> None:
    config = model_config.ModelConfig(name="m")
    config.instance_group.add(name="m_0", kind=model_config.ModelInstanceGroup.KIND_GPU, gpus=[0, 3])
    devices.check(config, [0, 3])
    with pytest.raises(ServerError, match="unsupported gpu id 3"):
        devices.check(config, [0])
    del config.instance_group[0].gpus[:]
    with pytest.raises(ServerError, match="GPUs available to this server: none"):
        devices.check(config, [])
