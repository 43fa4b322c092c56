"""Everything an operator can set: one field a flag, spelled and defaulted as tritonserver does where it has the flag.

The command line, the environment, the configuration file and (through `Settings`) every part of the server read this
one table; each group of flags is a module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pyserver.settings.extensions import ExtensionSettings
from pyserver.settings.grpc import GrpcSettings
from pyserver.settings.http import HttpSettings
from pyserver.settings.limits import CacheSettings, LimitSettings
from pyserver.settings.machine import available_cpus, memory_limit
from pyserver.settings.models import ModelSettings
from pyserver.settings.observing import LogSettings, MetricsSettings, TraceSettings
from pyserver.settings.server import ServerSettings
from pyserver.settings.transport import GrpcTransportSettings, HttpTransportSettings, LoadSettings

__all__ = ["Settings", "available_cpus", "flags", "memory_limit"]


@dataclass(frozen=True)
class Settings(
    LogSettings,
    TraceSettings,
    MetricsSettings,
    LoadSettings,
    LimitSettings,
    CacheSettings,
    GrpcTransportSettings,
    GrpcSettings,
    HttpTransportSettings,
    HttpSettings,
    ExtensionSettings,
    ServerSettings,
    ModelSettings,
):  # the last comes first in the table
    """How one server runs. Sizes are bytes, times seconds, unless the name says otherwise.

    `mlserver` is all that the `settings.json` of one of MLServer's folders says, where such a folder is served by
    `pyserver start`; it is no flag.
    """

    mlserver: Mapping[str, Any] | None = None

    @property
    def repositories(self) -> list[Path]:
        """The model repositories, as absolute paths."""
        return [Path(path).resolve() for path in self.model_repository]

    @property
    def load_limit(self) -> int:
        """How many models may start at once."""
        return self.model_load_thread_count or available_cpus()

    @property
    def model_memory(self) -> int:
        """Bytes of shared memory that one model's requests, or one instance's responses, may hold."""
        return self.max_model_memory or memory_limit() // 2


def flags() -> list[tuple[str, Any, dict[str, Any]]]:
    """Every flag: its field's name, default and metadata, in the order of the table."""
    return [(entry.name, entry.default, dict(entry.metadata)) for entry in fields(Settings) if entry.metadata]
