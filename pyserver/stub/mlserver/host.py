"""From a model's settings to its object: names, class, `load`; and the way back."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from typing import Any, Dict, List

from pyserver.stub import logger
from pyserver.stub.loading import Load
from pyserver.stub.mlserver.runner import Runner

SETTINGS = "MLSERVER_SETTINGS"
"""The parameter of the model's config that holds its settings, resolved, as JSON."""
NAMES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "names")


class Host:
    """An MLServer model in this process: `settings` as its config says, `metadata` as it says itself, once loaded."""

    def __init__(self, load: Load) -> None:
        text = load.config.get("parameters", {}).get(SETTINGS, {}).get("string_value")
        if not text:
            raise ValueError(f"model '{load.model_name}': its config has no parameter {SETTINGS}")
        self._given: Dict[str, Any] = json.loads(text)
        _import_names(load.model_name)
        sys.path.append(str(self._given.pop("_runtimes", NAMES)))
        folders: List[str] = self._given.pop("_path", [])
        sys.path[:0] = folders
        settings = importlib.import_module("mlserver.settings")
        self.errors = importlib.import_module("mlserver.errors").MLServerError
        self.types = importlib.import_module("mlserver.types")
        importlib.import_module("mlserver.logging").configure_logger(settings.Settings())
        logger.adopt("mlserver")
        self.settings = settings.ModelSettings.model_validate(dict(self._given))
        self._class = self._implementation()
        self.runner = Runner()
        self.model: Any = None
        self.handlers: Any = None
        self.metadata: Dict[str, Any] = {}

    def _implementation(self) -> Any:
        path = str(self._given.get("implementation", ""))
        module, _, name = path.rpartition(".")
        if not module:
            raise ValueError(f"implementation is '{path}', expected module.Class")
        found = importlib.import_module(module)
        try:
            return getattr(found, name)
        except AttributeError:
            raise ImportError(f"module '{module}' ({found.__file__}) has no '{name}'") from None

    def load(self) -> None:
        """Make the model and load it. RuntimeError if it says that it is not ready."""
        context = importlib.import_module("mlserver.context")
        context.model_name_var.set(self.settings.name)
        context.model_version_var.set(self.settings.version or "")
        model = self.model = self._class(self.settings)
        ready = self.runner.finish(model.load())
        model.ready = True if ready is None else bool(ready)
        if not model.ready:
            raise RuntimeError(f"Model {self.settings.name} is not ready yet: its load() returned {ready!r}")
        # Only here is it known that there is pydantic.
        handlers = importlib.import_module("pyserver.stub.mlserver.handlers")
        self.handlers = handlers.Handlers(model)
        said = self.runner.finish(model.metadata())
        self.metadata = said.model_dump(mode="json") if hasattr(said, "model_dump") else dict(said)

    @property
    def feeds(self) -> bool:
        """Whether the model has a predict_stream of its own, which is to read a client's whole stream."""
        base = importlib.import_module("mlserver").MLModel
        return getattr(type(self.model), "predict_stream", None) is not base.predict_stream

    def finalize(self) -> None:
        """Finish what was begun, and unload the model."""
        self.runner.drain()
        self.runner.finish(self.model.unload())
        self.runner.close()


def _import_names(model: str) -> None:
    """Import `mlserver`: the environment's own, where it has one, else ours."""
    if importlib.util.find_spec("pydantic") is None:
        raise ImportError(
            f"model '{model}': pydantic is not installed in {sys.prefix} (Python {sys.version.split()[0]}): MLServer's "
            "types are built on it; install pydantic>=2 there, or mlserver"
        )
    import pydantic

    if int(pydantic.VERSION.partition(".")[0]) < 2:
        raise ImportError(f"model '{model}': pydantic {pydantic.VERSION} is installed in {sys.prefix}, expected >=2")
    sys.path.append(NAMES)
    importlib.import_module("mlserver")
