"""The instances that a configuration asks for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from pyserver.proto import model_config

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig


class InstanceEntry(NamedTuple):
    """One instance: `kind` is "CPU", "GPU" or "MODEL", `device_id` 0 unless it is a GPU's.

    `resources` (name, whether it is of all devices, count) and `priority` (1 for most turns) are the rate limiter's.
    """

    name: str
    kind: str
    device_id: int
    passive: bool
    resources: tuple[tuple[str, bool, int], ...] = ()
    priority: int = 1


def instances(config: ModelConfig) -> list[InstanceEntry]:
    """Return every instance of a normalised configuration; none for an ensemble.

    Instance j of group g is `<g>_<j>`, as in Triton; where a group has several devices, or two groups have one name,
    Triton gives several instances the same name and we go on counting.
    """
    made: list[InstanceEntry] = []
    numbers: Counter[str] = Counter()
    for group in config.instance_group:
        kind = model_config.ModelInstanceGroup.Kind.Name(group.kind).removeprefix("KIND_")
        limiter = group.rate_limiter
        needs = tuple((entry.name, getattr(entry, "global"), entry.count) for entry in limiter.resources)
        for _ in range(group.count):
            for device in (group.gpus if kind == "GPU" else None) or (0,):
                name = f"{group.name}_{numbers[group.name]}"
                made.append(InstanceEntry(name, kind, device, group.passive, needs, limiter.priority or 1))
                numbers[group.name] += 1
    return made
