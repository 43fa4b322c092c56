"""Whether a normalised configuration can be served: every rule that the configuration alone can break.

A rule is a generator of problems, each a sentence in Triton's words where Triton has some. All of them are told at
once. Inputs and outputs have rules of their own, because a model may still complete them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pyserver.errors import invalid
from pyserver.repository.rules import batching, ensembles, placement, sequences, settings, tensors

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig

Rule = Callable[["ModelConfig"], Iterable[str]]

_SETTINGS: Sequence[Rule] = (
    settings.numbers,
    settings.paths,
    settings.responses,
    settings.agents,
    settings.warmup,
    placement.instance_groups,
    batching.dynamic_batching,
    sequences.controls,
    sequences.strategy,
    sequences.states,
    ensembles.settings,
    ensembles.steps,
    ensembles.tensors,
)
_TENSORS: Sequence[Rule] = (
    tensors.inputs,
    tensors.outputs,
    tensors.names,
    batching.batch_inputs,
    batching.batch_outputs,
)


def check(config: ModelConfig) -> None:
    """Raise ServerError (INVALID_ARG) with all that is wrong with a configuration."""
    _check(config, (*_SETTINGS, *_TENSORS))


def check_settings(config: ModelConfig) -> None:
    """Raise ServerError (INVALID_ARG) with all that is wrong, inputs and outputs aside."""
    _check(config, _SETTINGS)


def problems(config: ModelConfig, settings_only: bool = False) -> list[str]:
    """Return all that is wrong with a configuration, inputs and outputs aside where the model may complete them."""
    rules = _SETTINGS if settings_only else (*_SETTINGS, *_TENSORS)
    return [problem for rule in rules for problem in rule(config)]


def _check(config: ModelConfig, rules: Sequence[Rule]) -> None:
    found = [problem for rule in rules for problem in rule(config)]
    if found:
        raise invalid(f"model '{config.name}': {'; '.join(found)}")
