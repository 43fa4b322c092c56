from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyserver.errors import ServerError
from pyserver.repository import config as configs
from pyserver.repository.mlserver import custom
from pyserver.repository.mlserver.config import SETTINGS_PARAMETER
from pyserver.repository.repository import ModelRepository
from tests.support.mlserver import write_settings
from tests.support.repositories import write_constant

SOURCE = """
import os
from mlserver.repository import ModelRepository
from mlserver.settings import ModelParameters, ModelSettings

print("imported, not in the server")

class Catalogue(ModelRepository):
    def __init__(self, root, prefix="", fail=False):
        self.root, self.prefix, self.fail = root, prefix, fail

    async def list(self):
        if self.fail:
            raise ValueError("the catalogue is closed")
        parameters = ModelParameters(version="3", uri="./x")
        return [
            ModelSettings(name=self.prefix + name, implementation="models.Echo", parameters=parameters)
            for name in ("one", "two")
        ]

    async def find(self, name):
        return [settings for settings in await self.list() if settings.name == name]
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "catalogued"
    folder.mkdir()
    (folder / "catalogue.py").write_text(SOURCE)
    return folder


def configured(root: Path, **arguments: Any) -> None:
    named = "catalogue.Catalogue"
    write_settings(
        root, "settings.json", model_repository_implementation=named, model_repository_implementation_args=arguments
    )


def test_what_the_class_lists(root: Path) -> None:
    configured(root, prefix="a-")
    write_constant(root, "constant")
    write_settings(root / "ignored")
    found = ModelRepository([root]).scan()
    assert sorted(found) == ["a-one", "a-two", "constant"]
    (config,) = configs.prepare_versions(found["a-two"]).values()
    settings = json.loads(config.parameters[SETTINGS_PARAMETER].string_value)
    assert (settings["name"], settings["implementation"]) == ("a-two", "models.Echo")
    assert settings["parameters"] == {"version": "3", "uri": str(root / "x")}
    assert found["a-one"].labels == {"3": 3}


def test_a_class_that_fails(root: Path) -> None:
    configured(root, fail=True)
    with pytest.raises(ServerError, match=r"(?s)catalogue.Catalogue: list\(\) failed:.*the catalogue is closed"):
        ModelRepository([root]).scan()


def test_a_class_that_takes_too_long(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured(root)
    monkeypatch.setattr(custom, "TIMEOUT", 0.001)
    with pytest.raises(ServerError, match="took longer than 0 seconds"):
        ModelRepository([root]).scan()


def test_mlserver_s_own_class_is_ours(root: Path) -> None:
    named = "mlserver.repository.repository.SchemalessModelRepository"
    write_settings(root, "settings.json", model_repository_implementation=named)
    write_settings(root / "m")
    assert list(ModelRepository([root]).scan()) == ["m"]
