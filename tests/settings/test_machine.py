"""Which GPUs there are, by the device nodes and CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.settings import machine


@pytest.mark.parametrize(("visible", "known"), [(None, [0, 1]), ("", []), ("-1", []), ("1", [0]), ("0,1,2", [0, 1])])
def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, known: list[int]) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.delenv(machine.VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(machine.VISIBLE, visible)
    assert machine.gpus(tmp_path) == known
    assert machine.gpus(tmp_path / "nowhere") == []
