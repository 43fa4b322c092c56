"""The V2 model metadata document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyserver.proto import model_config

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig, ModelInput, ModelOutput


def datatype(data_type: int) -> str:
    """Return the protocol's name of a configuration's data type: FP32 for TYPE_FP32, BYTES for TYPE_STRING."""
    name = model_config.DataType.Name(data_type).removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name


def model_metadata(config: ModelConfig, versions: Sequence[int]) -> dict[str, Any]:
    """Return the metadata of a model of which `versions` are ready.

    Shapes have a leading -1 where the model batches. `platform` is the backend's name where the configuration has no
    platform. Control and state tensors of sequences are not listed.
    """
    return {
        "name": config.name,
        "versions": [str(version) for version in sorted(versions)],
        "platform": config.platform or config.backend,
        "inputs": _tensors(config, config.input),
        "outputs": _tensors(config, config.output),
    }


def mlserver_metadata(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata document of an MLServer model that says `said` of itself; without what is not known."""
    base = {"name": name, "versions": [], "platform": "", "inputs": [], "outputs": [], "parameters": {}}
    return {**base, **{key: value for key, value in said.items() if value is not None}}


def _tensors(config: ModelConfig, tensors: Iterable[ModelInput | ModelOutput]) -> list[dict[str, Any]]:
    batch = [-1] if config.max_batch_size > 0 else []
    return [
        {"name": tensor.name, "datatype": datatype(tensor.data_type), "shape": [*batch, *tensor.dims]}
        for tensor in tensors
    ]
