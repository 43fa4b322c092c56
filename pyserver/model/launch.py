"""How an instance's process is started: which interpreter runs which file, with which environment variables."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from pyserver.errors import invalid, unsupported
from pyserver.instance.spec import InstanceSpec
from pyserver.repository import devices
from pyserver.repository.config import BUNDLED_BACKENDS
from pyserver.repository.instances import InstanceEntry
from pyserver.repository.repository import ModelFolder
from pyserver.settings import Settings, available_cpus

ENVIRONMENT_PARAMETER = "EXECUTION_ENV_PATH"
INTERPRETER_PARAMETER = "PYTHON_EXECUTABLE"
FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV", "LD_PRELOAD")
"""Variables of the server's own environment that break another interpreter."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""How many threads numerical libraries start (torch goes by the first two): the CPUs, shared by a model's instances."""

DOUBLE_BUFFERED = 2
"""A batching model's next batch lies ready while the last one runs."""


class Launch:
    """Makes the specs of instances."""

    def __init__(self, settings: Settings) -> None:
        self._backends = [*(Path(path).resolve() for path in settings.backend_directory), BUNDLED_BACKENDS]
        self._settings = settings
        self._cpus = available_cpus()

    def spec(
        self, folder: ModelFolder, config: Any, config_json: str, version: int, entry: InstanceEntry, count: int
    ) -> InstanceSpec:
        """The spec of one of `count` instances; a ServerError if its backend or interpreter is not there."""
        directory = folder.path / str(version)
        backend = None if config.backend == "python" else self._backend(folder.name, config.backend)
        interpreter = self._interpreter(folder, config)
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
            interpreter=interpreter,
            environment=_variables(interpreter, max(1, self._cpus // count), entry.kind),
            title=f"pyserver: {folder.name}/{version} {entry.name}",
            response_bytes=self._settings.model_memory,
            ahead=DOUBLE_BUFFERED if config.HasField("dynamic_batching") else 1,
            silence=self._settings.model_load_timeout_secs,
            load_limit=self._settings.model_load_limit_secs,
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

    def _interpreter(self, folder: ModelFolder, config: Any) -> str:
        """The server's own, unless the model's parameters name another or an environment that holds one."""
        named = (
            config.parameters[INTERPRETER_PARAMETER].string_value if INTERPRETER_PARAMETER in config.parameters else ""
        )
        if ENVIRONMENT_PARAMETER in config.parameters:
            environment = config.parameters[ENVIRONMENT_PARAMETER].string_value
            path = Path(environment.replace("$$TRITON_MODEL_DIRECTORY", str(folder.path)))
            if not path.is_dir():
                raise unsupported(
                    f"model '{folder.name}': {ENVIRONMENT_PARAMETER} '{environment}' is not a directory:"
                    " packed environments are not supported yet"
                )
            named = str(path / "bin" / "python")
        if not named:
            return sys.executable
        if not os.access(named, os.X_OK):
            raise invalid(f"model '{folder.name}': interpreter '{named}' is not an executable file")
        return named


def _variables(interpreter: str, threads: int, kind: str) -> dict[str, str]:
    variables = {**dict.fromkeys(THREADS, str(threads)), **os.environ}
    if kind == "GPU" and devices.VISIBLE not in variables:
        # All of them, so that a model's `cuda:{model_instance_device_id}` is the device that it is meant to be.
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        variables[devices.VISIBLE] = ",".join(map(str, devices.gpus()))
    if interpreter != sys.executable:
        for name in FOREIGN:
            variables.pop(name, None)
        variables["PATH"] = str(Path(interpreter).parent) + os.pathsep + variables.get("PATH", os.defpath)
        variables["PYTHONNOUSERSITE"] = "1"
    return variables
