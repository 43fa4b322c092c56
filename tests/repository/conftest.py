from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pyserver.repository.folder import ModelFolder

MakeModel = Callable[..., ModelFolder]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Make a model folder: `make_model(name, config.pbtxt or None, files=["1/model.py"])`."""

    def make(
        name: str, text: str | None = None, files: tuple[str, ...] = ("1/model.py",), repository: str = "models"
    ) -> ModelFolder:
        path = tmp_path / repository / name
        path.mkdir(parents=True)
        for file in files:
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).touch()
        if text is not None:
            (path / "config.pbtxt").write_text(text)
        return ModelFolder(name, path, path.parent)

    return make
