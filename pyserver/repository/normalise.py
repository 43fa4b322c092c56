"""The defaults of a configuration, filled in as Triton does when it loads a model and prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyserver.proto import model_config
from pyserver.repository.backends import ENSEMBLE, FILENAMES

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig, ModelInstanceGroup

SEQUENCE_IDLE_US = 1_000_000


def normalise(config: ModelConfig, gpus: Sequence[int] = ()) -> None:
    """Fill in the defaults of a named configuration, in place; once done, doing it again changes nothing.

    `gpus` are the numbers of the devices that this server may use.
    """
    if not config.HasField("version_policy"):
        config.version_policy.latest.num_versions = 1
    if config.platform == ENSEMBLE:
        config.model_transaction_policy.SetInParent()
        return
    if not config.default_model_filename:
        config.default_model_filename = FILENAMES.get(config.backend, "")
    if config.backend == "onnxruntime" and not config.platform:
        config.platform = "onnxruntime_onnx"
    _optimization(config)
    _scheduling(config)
    _instance_groups(config, gpus)


def _optimization(config: ModelConfig) -> None:
    optimization = config.optimization
    for buffer in ("input_pinned_memory", "output_pinned_memory"):
        if not optimization.HasField(buffer):
            getattr(optimization, buffer).enable = True


def _scheduling(config: ModelConfig) -> None:
    largest = [config.max_batch_size] if config.max_batch_size > 0 else []
    choice = config.WhichOneof("scheduling_choice")
    if choice == "dynamic_batching" and not config.dynamic_batching.preferred_batch_size:
        config.dynamic_batching.preferred_batch_size[:] = largest
    if choice == "sequence_batching":
        sequence = config.sequence_batching
        sequence.max_sequence_idle_microseconds = sequence.max_sequence_idle_microseconds or SEQUENCE_IDLE_US
        if sequence.HasField("oldest") and not sequence.oldest.preferred_batch_size:
            sequence.oldest.preferred_batch_size[:] = largest


def _instance_groups(config: ModelConfig, gpus: Sequence[int]) -> None:
    if not config.instance_group:
        config.instance_group.add(name=config.name)
    for number, group in enumerate(config.instance_group):
        group.name = group.name or f"{config.name}_{number}"
        _instance_group(group, gpus)


def _instance_group(group: ModelInstanceGroup, gpus: Sequence[int]) -> None:
    kinds = model_config.ModelInstanceGroup
    if group.kind == kinds.KIND_AUTO:
        group.kind = kinds.KIND_GPU if gpus else kinds.KIND_CPU
    if group.kind == kinds.KIND_GPU and not group.gpus:
        group.gpus[:] = gpus
    if group.count == 0:
        group.count = 1
