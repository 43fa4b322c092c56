"""Rules for ensembles: each by itself, and together with the models of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pyserver.proto import model_config
from pyserver.repository.backends import ENSEMBLE

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig, ModelInput, ModelOutput


def settings(config: ModelConfig) -> Iterable[str]:
    """An ensemble has steps and nothing that a model of its own would need; no other model has steps."""
    if config.platform != ENSEMBLE:
        if config.HasField("ensemble_scheduling"):
            yield "ensemble scheduling cannot be set for a model whose platform is not ensemble"
        return
    if not config.HasField("ensemble_scheduling"):
        yield "ensemble scheduling must be set for a model whose platform is ensemble"
    if config.instance_group:
        yield "instance group should not be specified for an ensemble"
    if config.HasField("optimization"):
        yield "optimization should not be specified for an ensemble"


def steps(config: ModelConfig) -> Iterable[str]:
    """Every step names a model and maps tensors in and out."""
    if not config.HasField("ensemble_scheduling"):
        return
    if not config.ensemble_scheduling.step:
        yield "must specify 'step' for an ensemble"
    for number, step in enumerate(config.ensemble_scheduling.step):
        for field in ("model_name", "input_map", "output_map"):
            if not getattr(step, field):
                yield f"must specify '{field}' in step {number} of the ensemble"
        if step.model_name == config.name:
            yield f"circular dependency between ensembles: step {number} is the ensemble itself"
        for field, entries in (("input_map", step.input_map), ("output_map", step.output_map)):
            if not all(entries) or not all(entries.values()):
                yield f"an empty name in '{field}' of step {number}"


def tensors(config: ModelConfig) -> Iterable[str]:
    """Every tensor is made once, by the request or a step, and from what can be made before it."""
    if not config.HasField("ensemble_scheduling"):
        return
    made = {tensor.name: "the request" for tensor in config.input}
    for number, step in enumerate(config.ensemble_scheduling.step):
        for name in sorted(step.output_map.values()):
            if name in made:
                yield f"ensemble tensor '{name}' can appear in an output map only once, step {number} has it again"
            made.setdefault(name, f"step {number}")
    read = {name for step in config.ensemble_scheduling.step for name in step.input_map.values()}
    yield from (f"ensemble input '{tensor.name}' is not used" for tensor in config.input if tensor.name not in read)
    yield from (
        f"ensemble output '{tensor.name}' is not used: no step makes it"
        for tensor in config.output
        if tensor.name not in made
    )
    yield from (f"ensemble tensor '{name}' is read, but no step makes it" for name in sorted(read - made.keys()))
    yield from _circles(config, made.keys())


def _circles(config: ModelConfig, made: Iterable[str]) -> Iterable[str]:
    """Run the steps on names alone; those that never get all their inputs wait for each other."""
    there = {tensor.name for tensor in config.input}
    left = dict(enumerate(config.ensemble_scheduling.step))
    known = set(made)
    while ready := [number for number, step in left.items() if there.issuperset(step.input_map.values())]:
        for number in ready:
            there.update(left.pop(number).output_map.values())
    waiting = [number for number, step in left.items() if known.issuperset(step.input_map.values())]
    if waiting:
        yield f"steps {', '.join(map(str, waiting))} of the ensemble wait for each other's outputs"


def against_models(config: ModelConfig, models: Mapping[str, ModelConfig]) -> Iterable[str]:
    """Every step's model is there, has the tensors that are mapped, and agrees about them with its neighbours.

    `models` has the normalised configurations of the models that steps name; ensembles among them included.
    """
    absent = sorted({step.model_name for step in config.ensemble_scheduling.step} - models.keys())
    if absent:
        yield f"ensemble contains models that are not available or ambiguous: {', '.join(absent)}"
        return
    said: dict[str, Said] = {}
    for kind in (config.input, config.output):
        said.update((tensor.name, Said(config, tensor)) for tensor in kind)
    for step in config.ensemble_scheduling.step:
        model = models[step.model_name]
        if config.max_batch_size > model.max_batch_size > 0:
            yield (
                f"ensemble allows maximum batch size {config.max_batch_size}, but it contains model"
                f" '{model.name}' which only allows maximum batch size to be {model.max_batch_size}"
            )
        yield from _mapped(model, step.input_map, {tensor.name: tensor for tensor in model.input}, "input", said)
        yield from _mapped(model, step.output_map, {tensor.name: tensor for tensor in model.output}, "output", said)
        yield from _unmapped(model, step.input_map)


def _mapped(
    model: ModelConfig,
    mapping: Mapping[str, str],
    tensors: Mapping[str, ModelInput | ModelOutput],
    kind: str,
    said: dict[str, Said],
) -> Iterable[str]:
    verb = "is mapping to non-existing input" if kind == "input" else "is mapped from non-existing output"
    for theirs, ours in sorted(mapping.items()):
        tensor = tensors.get(theirs)
        if tensor is None:
            yield f"ensemble tensor {ours} {verb} {theirs} in model {model.name}"
            continue
        new = Said(model, tensor)
        yield from said.setdefault(ours, new).against(new, ours)


def _unmapped(model: ModelConfig, mapping: Mapping[str, str]) -> Iterable[str]:
    for tensor in model.input:
        if tensor.name not in mapping and not tensor.optional:
            yield f"input {tensor.name} in model {model.name} is not mapped to any ensemble tensors"


class Said:
    """What one model says about an ensemble's tensor: its type, its dimensions, those with the batch dimension."""

    def __init__(self, model: ModelConfig, tensor: ModelInput | ModelOutput) -> None:
        self.model = model.name
        self.data_type = model_config.DataType.Name(tensor.data_type)
        self.dims = list(tensor.dims)
        self.full_dims = [-1, *tensor.dims] if model.max_batch_size > 0 else self.dims

    def against(self, other: Said, name: str) -> Iterable[str]:
        """Yield what `other` contradicts; shapes agree as Triton has it, with or without the batch dimension."""
        if self.data_type != other.data_type:
            yield (
                f"ensemble tensor {name}: inconsistent data type: {self.data_type} is inferred from model {self.model}"
                f" while {other.data_type} is inferred from model {other.model}"
            )
        if not _agree(self.dims, other.dims) and not _agree(self.full_dims, other.full_dims):
            yield (
                f"ensemble tensor {name}: inconsistent shape: {self.full_dims} is inferred from model {self.model}"
                f" while {other.full_dims} is inferred from model {other.model}"
            )


def _agree(one: list[int], other: list[int]) -> bool:
    """Whether two shapes have one in common."""
    return len(one) == len(other) and all(a == b or -1 in (a, b) for a, b in zip(one, other, strict=True))
