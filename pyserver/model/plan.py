"""What a model is loaded from, and how one such plan differs from the next."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyserver.proto.model_config import ModelConfig
from pyserver.repository.fingerprint import Fingerprint
from pyserver.repository.folder import ModelFolder


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be started: a folder, its configuration as written, and the versions that the policy selects.

    `override` is the configuration (JSON) that came with a load request, None if it is the folder's own; `uploaded`
    says that the files came with it as well. `disk` is what the repository's folder looked like, None if there is none.
    `configs` holds the configurations of versions that have one of their own; `config` is the default version's.
    """

    folder: ModelFolder
    config: Any
    versions: tuple[int, ...]
    disk: Fingerprint | None = None
    override: str | None = None
    uploaded: bool = False
    configs: Mapping[int, Any] = field(default_factory=dict)

    def config_of(self, version: int) -> Any:
        """The configuration of a version."""
        return self.configs.get(version, self.config)


class Change(enum.Enum):
    """How much of a model that serves has to be started anew."""

    NOTHING = 0
    INSTANCES = 1  # their number and places; nothing else
    ALL = 2


def change(old: Plan | None, new: Plan) -> Change:
    """What it takes to come from `old` to `new`."""
    if old is None or old.folder != new.folder or old.versions != new.versions:
        return Change.ALL
    if old.disk == new.disk and old.override == new.override:
        return Change.NOTHING
    if old.disk is None or new.disk is None or old.disk.files != new.disk.files:
        return Change.ALL
    pairs = [(old.config_of(version), new.config_of(version)) for version in old.versions]
    groups_differ = any(list(was.instance_group) != list(now.instance_group) for was, now in pairs)
    same = all(_rest(was) == _rest(now) for was, now in pairs)
    return Change.INSTANCES if groups_differ and same else Change.ALL


def _rest(config: Any) -> Any:
    """The configuration without its instance groups."""
    rest = ModelConfig()
    rest.CopyFrom(config)
    rest.ClearField("instance_group")
    return rest
