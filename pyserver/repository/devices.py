"""The GPUs that this server may use, without a driver's library."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pyserver.errors import invalid
from pyserver.proto import model_config

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig

VISIBLE = "CUDA_VISIBLE_DEVICES"
_NODE = re.compile(r"nvidia[0-9]+")


def gpus(devices: Path = Path("/dev")) -> list[int]:
    """Their numbers as CUDA counts them: from 0, one for each device node, or as many as CUDA_VISIBLE_DEVICES names."""
    try:
        count = sum(1 for entry in os.scandir(devices) if _NODE.fullmatch(entry.name))
    except OSError:
        count = 0
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        named = [word for word in visible.split(",") if word.strip() and word.strip() != "-1"]
        count = min(count, len(named))
    return list(range(count))


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
