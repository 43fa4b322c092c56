"""How an instance's process is started: which interpreter runs which file, of the model or of its backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyserver.errors import ServerError, invalid
from pyserver.instance.share import share
from pyserver.instance.spec import InstanceSpec
from pyserver.ipc.envelope import BACKEND
from pyserver.model.runtime import Runtime, Runtimes, explained
from pyserver.repository import parameters
from pyserver.repository.backends import BUNDLED_BACKENDS
from pyserver.repository.folder import ModelFolder
from pyserver.repository.instances import InstanceEntry
from pyserver.settings import Settings, available_cpus

DOUBLE_BUFFERED = 2
"""A batching model's next batch lies ready while the last one runs."""


class Launch:
    """Makes the specs of instances."""

    def __init__(self, settings: Settings) -> None:
        self._backends = [*(Path(path).resolve() for path in settings.backend_directory), BUNDLED_BACKENDS]
        self._settings = settings
        self._cpus = available_cpus()
        self._runtimes = Runtimes(settings)
        self._equipped: dict[tuple[str, int], Runtime] = {}

    async def equip(self, folder: ModelFolder, config: Any, version: int, report: Callable[[str], None]) -> None:
        """Have the interpreter ready that runs a version: before any `spec` of it. ServerError if it can't be had.

        `report` hears how far that is, and "" when it is done.
        """
        self._equipped[folder.name, version] = await self._runtimes.of(folder, config, report)
        report("")

    def explain(self, folder: ModelFolder, error: ServerError) -> None:
        """Add to a failure to load what the model was run by."""
        for (name, _), runtime in self._equipped.items():
            if name == folder.name:
                explained(error, runtime)

    def spec(
        self, folder: ModelFolder, config: Any, config_json: str, version: int, entry: InstanceEntry, count: int
    ) -> InstanceSpec:
        """The spec of one of `count` instances; a ServerError if its backend is not there."""
        directory = folder.version_path(version)
        backend = None if config.backend in ("python", BACKEND) else self._backend(folder.name, config.backend)
        runtime = self._equipped[folder.name, version]
        return InstanceSpec(
            name=entry.name,
            kind=entry.kind,
            device_id=str(entry.device_id),
            model_name=folder.name,
            version=version,
            model_directory=str(folder.path),
            version_directory=str(directory),
            model_file=str(backend / "model.py" if backend else directory / config.default_model_filename),
            backend_directory=str(backend or ""),
            config_json=config_json,
            interpreter=runtime.interpreter,
            environment={**share(self._cpus, count, entry.kind), **runtime.variables},
            title=f"pyserver: {folder.name}/{version} {entry.name}",
            response_bytes=self._settings.model_memory,
            ahead=DOUBLE_BUFFERED if config.HasField("dynamic_batching") else 1,
            silence=self._settings.model_load_timeout_secs,
            load_limit=self._settings.model_load_limit_secs,
            execution_limit=parameters.execution_limit(config, self._settings.max_execution_secs),
        )

    def _backend(self, model: str, name: str) -> Path:
        for folder in self._backends:
            if (folder / name / "model.py").is_file():
                return folder / name
        searched = ", ".join(map(str, self._backends))
        raise invalid(
            f"model '{model}': unable to find backend '{name}': expected {name}/model.py in a backend directory"
            f" (searched: {searched}; --backend-directory adds more)"
        )
