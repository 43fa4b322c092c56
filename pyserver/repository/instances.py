"""The instances that a configuration asks for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from pyserver.proto import model_config

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig


class InstanceEntry(NamedTuple):
    """One instance: `kind` is "CPU", "GPU" or "MODEL", `device_id` 0 unless it is a GPU's."""

    name: str
    kind: str
    device_id: int
    passive: bool


def instances(config: ModelConfig) -> list[InstanceEntry]:
    """Return every instance of a normalised configuration; none for an ensemble.

    Instance j of group g is `<g>_<j>`, as in Triton; where a group has several devices, or two groups have one name,
    Triton gives several instances the same name and we go on counting.
    """
    made: list[InstanceEntry] = []
    numbers: Counter[str] = Counter()
    for group in config.instance_group:
        kind = model_config.ModelInstanceGroup.Kind.Name(group.kind).removeprefix("KIND_")
        for _ in range(group.count):
            for device in (group.gpus if kind == "GPU" else None) or (0,):
                made.append(InstanceEntry(f"{group.name}_{numbers[group.name]}", kind, device, group.passive))
                numbers[group.name] += 1
    return made
