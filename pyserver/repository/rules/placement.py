"""Rules for instance groups. Whether this machine has the devices is decided where they are known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyserver.proto import model_config
from pyserver.repository.backends import ENSEMBLE

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig


def instance_groups(config: ModelConfig) -> Iterable[str]:
    """Groups have a sound count, and devices only where their kind has some."""
    if config.platform == ENSEMBLE:
        return
    kinds = model_config.ModelInstanceGroup
    for group in config.instance_group:
        what = f"instance group {group.name} of model {config.name}"
        if group.count < 1:
            yield f"{what} has count {group.count}, expected at least 1"
        if group.kind != kinds.KIND_GPU and group.gpus:
            yield f"{what} has kind {kinds.Kind.Name(group.kind)} but specifies one or more GPUs"
        if any(gpu < 0 for gpu in group.gpus):
            yield f"{what} has gpus {list(group.gpus)}, expected numbers from 0"
        if group.profile:
            yield f"{what} specifies profile field which is only supported for TensorRT models"
        if "/" in group.name or "\0" in group.name:
            yield f"{what} has '/' in its name"
