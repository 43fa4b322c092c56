"""Whether the files that a configuration names are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyserver.errors import invalid
from pyserver.repository.backends import FILENAMES
from pyserver.repository.folder import ModelFolder

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig


def check_files(config: ModelConfig, folder: ModelFolder, versions: Sequence[int]) -> None:
    """Raise ServerError (INVALID_ARG) with every file of a valid, normalised configuration that is missing.

    The model's own file is looked for where the backend is one that needs it; other backends know theirs.
    """
    wanted = [*_model_files(config, folder, versions), *_data_files(config, folder)]
    missing = [f"{what} not found in '{path}'" for what, path in wanted if not path.exists()]
    if missing:
        raise invalid(f"model '{config.name}': {'; '.join(missing)}")


def _model_files(config: ModelConfig, folder: ModelFolder, versions: Sequence[int]) -> Iterable[tuple[str, Path]]:
    if config.backend in FILENAMES:
        what = "Python model file" if config.backend == "python" else "model file"
        for version in versions:
            yield what, folder.path / str(version) / config.default_model_filename


def _data_files(config: ModelConfig, folder: ModelFolder) -> Iterable[tuple[str, Path]]:
    for output in config.output:
        if output.label_filename:
            yield f"label file of output '{output.name}'", folder.path / output.label_filename
    for state in config.sequence_batching.state:
        for initial in state.initial_state:
            if initial.WhichOneof("state_data") == "data_file":
                yield f"initial state of '{state.input_name}'", folder.path / "initial_state" / initial.data_file
    for sample in config.model_warmup:
        for name, entry in sample.inputs.items():
            if entry.WhichOneof("input_data_type") == "input_data_file":
                what = f"data of warmup sample '{sample.name}' for input '{name}'"
                yield what, folder.path / "warmup" / entry.input_data_file
