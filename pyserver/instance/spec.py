"""What one instance is: everything needed to start its process, again and again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

BOOT = str(Path(__file__).parent.parent / "stub" / "boot.py")
"""What the model's interpreter runs, with the arguments CHANNEL_FD REQUEST_FD RESPONSE_FD CALLS_FD TITLE."""

EXECUTION_LIMIT_PARAMETER = "MAX_EXECUTION_SECS"
"""A model parameter: how long one execute may take, in place of --max-execution-secs."""


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """One instance of one version of a model.

    `name` is Triton's (`m_0_0`), `kind` is CPU, GPU, MODEL or AUTO. Directories and `model_file` are absolute paths;
    `model_file` is the model's own or its backend's. `environment` holds all the environment variables of the process.
    `response_bytes` bounds the memory that its responses may hold; 0 leaves it to the size of the arena. `ahead` is how
    many payloads it is sent at least: 2 lets the next one lie ready while one is executed. While it loads it may show
    no sign of life for `silence` seconds, and take `load_limit` seconds in all; one execution may take
    `execution_limit` seconds; 0 is for ever. `foreground` leaves it the server's terminal.
    """

    name: str
    kind: str
    device_id: str
    model_name: str
    version: int
    model_directory: str
    version_directory: str
    model_file: str
    backend_directory: str
    config_json: str
    interpreter: str
    environment: Mapping[str, str] = field(hash=False)
    title: str = "pyserver stub"
    response_bytes: int = 0
    ahead: int = 1
    silence: float = 0.0
    load_limit: float = 0.0
    execution_limit: float = 0.0
    foreground: bool = False
    boot: str = BOOT

    def load_fields(self, complete_config: bool) -> dict[str, object]:
        """The fields of a LOAD message."""
        return {
            "instance_name": self.name,
            "kind": self.kind,
            "device_id": self.device_id,
            "model_name": self.model_name,
            "version": str(self.version),
            "model_directory": self.model_directory,
            "version_directory": self.version_directory,
            "model_file": self.model_file,
            "backend_directory": self.backend_directory,
            "config": self.config_json,
            "complete_config": complete_config,
            "response_bytes": self.response_bytes,
        }

    def initialize_args(self) -> dict[str, str]:
        """The argument of the model's `initialize`; `model_repository` is the model's folder, as in Triton."""
        return {
            "model_config": self.config_json,
            "model_instance_kind": self.kind,
            "model_instance_name": self.name,
            "model_instance_device_id": self.device_id,
            "model_repository": self.model_directory,
            "model_version": str(self.version),
            "model_name": self.model_name,
        }
