"""Custom runtimes of MLServer for the tests: a model folder with settings, as the model floor gets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RUNTIMES = Path(__file__).parent.parent / "models_mlserver"


def module_of(kind: str) -> str:
    """The module of tests/models_mlserver that has a class which others run as well."""
    return "frames" if kind == "Frame" else "runtimes"


def write_runtime(
    repository: Path,
    name: str,
    implementation: str,
    *,
    config: str = "",
    source: str | None = None,
    environment: str = "",
    **settings: Any,
) -> Path:
    """A model that runs `implementation` (`module.Class`), a module of tests/models_mlserver or `source` in models.py.

    `config` is what else its configuration says, `settings` what else its settings say.
    """
    target = repository / name
    (target / "1").mkdir(parents=True, exist_ok=True)
    if source is not None:
        (target / "models.py").write_text(source)
    parameters = {"uri": str(target), **settings.pop("parameters", {})}
    said = {"name": name, "implementation": implementation, "parameters": parameters, **settings}
    said.update(_source=str(target / "model-settings.json"), _path=[str(target), str(RUNTIMES)])
    text = f'backend: "mlserver"\n{config}\n' + _parameter("MLSERVER_SETTINGS", json.dumps(said))
    if environment:
        text += _parameter("PYTHON_EXECUTABLE", environment)
    (target / "config.pbtxt").write_text(text)
    return target


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value)} }} }}\n'
