"""What a model's `auto_complete_config` returned, merged into its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pyserver.errors import ServerError, invalid
from pyserver.proto import model_config
from pyserver.repository import document, validate
from pyserver.repository.normalise import normalise

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig, ModelInput, ModelOutput

# What `pb_utils.ModelConfig` has methods for; Triton takes nothing else from the model either.
_TAKEN = {"name", "max_batch_size", "input", "output", "dynamic_batching", "model_transaction_policy"}


class Completion(NamedTuple):
    """The completed configuration, and the names of fields that the model changed to no effect."""

    config: ModelConfig
    ignored: list[str]


def merge(config: ModelConfig, text: str, gpus: Sequence[int] = ()) -> Completion:
    """Return `config` (as `config.prepare` gave it) with what the model said in `text` (JSON), whole and checked.

    ServerError (INVALID_ARG) for what is no configuration, for what contradicts `config`, and for a result that can't
    be served. `config` itself stays as it is.
    """
    try:
        said = document.from_json(text)
    except ServerError as error:
        raise invalid(
            f"auto_complete_config function in model '{config.name}' must return a valid pb.ModelConfig object:"
            f" {error.message}"
        ) from None
    problems = list(_contradictions(config, said))
    if problems:
        raise invalid(f"model '{config.name}': auto_complete_config: {'; '.join(problems)}")
    merged = _merged(config, said)
    normalise(merged, gpus)
    validate.check(merged)
    return Completion(merged, _ignored(config, said))


def _merged(config: ModelConfig, said: ModelConfig) -> ModelConfig:
    merged = model_config.ModelConfig()
    merged.CopyFrom(config)
    if list(config.dynamic_batching.preferred_batch_size) == [config.max_batch_size]:
        del merged.dynamic_batching.preferred_batch_size[:]  # It was the default, and will be so again.
    merged.max_batch_size = said.max_batch_size
    for name in ("input", "output"):
        merged.ClearField(name)
        getattr(merged, name).extend(getattr(said, name))
    if said.HasField("dynamic_batching") and config.WhichOneof("scheduling_choice") is None:
        merged.dynamic_batching.CopyFrom(said.dynamic_batching)
    if said.HasField("model_transaction_policy"):
        merged.model_transaction_policy.CopyFrom(said.model_transaction_policy)
    return merged


def _contradictions(config: ModelConfig, said: ModelConfig) -> Iterable[str]:
    if said.name not in ("", config.name):
        yield f"'name' is '{said.name}'"
    if said.max_batch_size < config.max_batch_size:
        yield (
            f"configuration specified max_batch_size {config.max_batch_size},"
            f" but the model supports only {said.max_batch_size}"
        )
    yield from _tensors("input", config.input, said.input)
    yield from _tensors("output", config.output, said.output)
    scheduler, wanted = config.WhichOneof("scheduling_choice"), said.WhichOneof("scheduling_choice")
    if scheduler is not None and wanted not in (None, scheduler):
        yield f"the model wants {wanted}, but the configuration specifies {scheduler}"
    if config.HasField("model_transaction_policy") and said.HasField("model_transaction_policy"):
        expected, got = config.model_transaction_policy.decoupled, said.model_transaction_policy.decoupled
        if expected != got:
            yield f"the configuration specifies decoupled {expected}, the model provides {got}".lower()


def _tensors(
    kind: str, configured: Iterable[ModelInput | ModelOutput], said: Iterable[ModelInput | ModelOutput]
) -> Iterable[str]:
    provided = {tensor.name: tensor for tensor in said}
    types = model_config.DataType
    for tensor in configured:
        other = provided.get(tensor.name)
        if other is None:
            yield f"{kind} '{tensor.name}' of the configuration is gone"
        elif tensor.data_type not in (types.TYPE_INVALID, other.data_type):
            yield (
                f"configuration expects datatype {types.Name(tensor.data_type)} for {kind} '{tensor.name}',"
                f" model provides {types.Name(other.data_type)}"
            )
        elif tensor.dims and tensor.dims != other.dims:
            yield (
                f"{kind} '{tensor.name}': the model expects dims {list(other.dims)}"
                f" but the model configuration specifies dims {list(tensor.dims)}"
            )


def _ignored(config: ModelConfig, said: ModelConfig) -> list[str]:
    def values(message: ModelConfig) -> dict[str, Any]:
        return {field.name: value for field, value in message.ListFields() if field.name not in _TAKEN}

    known = values(config)
    return [name for name, value in values(said).items() if known.get(name) != value]
