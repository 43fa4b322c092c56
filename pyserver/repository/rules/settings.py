"""Rules for what stands by itself in a configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyserver.proto import model_config

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig, ModelWarmup


def numbers(config: ModelConfig) -> Iterable[str]:
    """Numbers that have a least value."""
    if config.max_batch_size < 0:
        yield f"'max_batch_size' must be non-negative value, got {config.max_batch_size}"


def paths(config: ModelConfig) -> Iterable[str]:
    """Names of files stay inside the model's folder, and name a file."""
    filename = config.default_model_filename
    if "/" in filename or filename in (".", ".."):
        yield f"default_model_filename '{filename}' must be the name of a file in the version folder"
    elif config.backend == "python" and not filename.endswith(".py"):
        yield f"Model name must end with '.py'. Model name is \"{filename}\" (default_model_filename)"
    for capability, name in config.cc_model_filenames.items():
        if _leaves(name):
            yield _outside(f"cc_model_filenames '{capability}'", name)
    for output in config.output:
        if output.label_filename and _leaves(output.label_filename):
            yield _outside(f"model output '{output.name}' label_filename", output.label_filename)
    for state in config.sequence_batching.state:
        for initial in state.initial_state:
            if initial.WhichOneof("state_data") == "data_file" and _leaves(initial.data_file):
                yield _outside(f"state '{state.input_name}' data_file", initial.data_file)
    for sample in config.model_warmup:
        for name, entry in sample.inputs.items():
            if entry.WhichOneof("input_data_type") == "input_data_file" and _leaves(entry.input_data_file):
                yield _outside(f"warmup sample '{sample.name}' input '{name}' input_data_file", entry.input_data_file)


def _leaves(path: str) -> bool:
    return not path or path.startswith("/") or "\0" in path or any(part in ("..", "") for part in path.split("/"))


def _outside(what: str, path: str) -> str:
    return f"{what} is '{path}', expected a path inside the model's folder without '..'"


def responses(config: ModelConfig) -> Iterable[str]:
    """The response cache keeps one answer for one request."""
    if not config.response_cache.enable:
        return
    end = "Please disable the response cache."
    if config.model_transaction_policy.decoupled:
        yield f"Response Cache does not currently support models with 'decoupled' transaction policy. {end}"
    if config.HasField("sequence_batching"):
        yield f"Response Cache does not currently support models with sequence batching scheduler. {end}"


def agents(config: ModelConfig) -> Iterable[str]:
    """There are no repository agents; what one would have checked must not go unchecked."""
    for agent in config.model_repository_agents.agents:
        yield f"unable to find repo agent '{agent.name}': this server has none"


def warmup(config: ModelConfig) -> Iterable[str]:
    """Warm-up samples say enough to make a request of them."""
    for sample in config.model_warmup:
        yield from _sample(config, sample)


def _sample(config: ModelConfig, sample: ModelWarmup) -> Iterable[str]:
    if sample.batch_size > max(config.max_batch_size, 1):
        yield (
            f"failed to run warmup sample '{sample.name}': batch size {sample.batch_size},"
            f" max allowed is {config.max_batch_size}"
        )
    for name, entry in sample.inputs.items():
        what = f"warmup sample '{sample.name}' input '{name}'"
        choice = entry.WhichOneof("input_data_type")
        if choice is None:
            yield f"{what} must specify one of 'zero_data', 'random_data' and 'input_data_file'"
        if entry.data_type == model_config.TYPE_INVALID:
            yield f"{what} must specify 'data_type'"
        if any(dim < 0 for dim in entry.dims):
            yield f"{what} has dims {list(entry.dims)}, expected fixed sizes"
