"""Whether the GPUs that a configuration names are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyserver.errors import invalid
from pyserver.proto import model_config

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig


def check(config: ModelConfig, known: list[int]) -> None:
    """Raise ServerError (INVALID_ARG) unless every GPU that the instance groups name is there."""
    for group in config.instance_group:
        if group.kind != model_config.ModelInstanceGroup.KIND_GPU:
            continue
        missing = [gpu for gpu in group.gpus if gpu not in known]
        if missing or not group.gpus:
            raise invalid(
                f"instance group {group.name} of model {config.name} specifies invalid or unsupported gpu id"
                f" {missing[0] if missing else 0}. GPUs available to this server: {known or 'none'};"
                " KIND_AUTO takes the CPU where there is no GPU"
            )
