"""Which backend serves a model, and which file it loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyserver.errors import invalid
from pyserver.repository.folder import ModelFolder

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig

ENSEMBLE = "ensemble"
FILENAMES = {"python": "model.py", "onnxruntime": "model.onnx"}
"""The file that a backend loads from a version folder, unless `default_model_filename` names another."""

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = _PACKAGE / "backends"
BUNDLED_BACKENDS = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "backends"
"""The backends that come with the server, a folder each: inside the package where it is installed, beside it in a
checkout."""

# The names that configurations had for backends before there were any.
_PLATFORMS = {
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    "tensorflow_graphdef": "tensorflow",
    "tensorflow_savedmodel": "tensorflow",
    "tensorrt_plan": "tensorrt",
}


def fill_backend(config: ModelConfig, folder: ModelFolder) -> None:
    """Set `backend`, or for an ensemble `platform`, where the configuration leaves it open.

    The configuration's legacy platform tells it, or a file in a version folder, or, as in Triton, the end of the
    model's name (`encoder.sklearn`). ServerError (INVALID_ARG) if none does.
    """
    if config.HasField("ensemble_scheduling") and not config.platform and not config.backend:
        config.platform = ENSEMBLE
    if config.platform == ENSEMBLE or config.backend:
        return
    if config.platform:
        config.backend = _of_platform(config)
        return
    config.backend = _of_files(config, folder)


def _of_platform(config: ModelConfig) -> str:
    if config.platform not in _PLATFORMS:
        expected = ", ".join([ENSEMBLE, *_PLATFORMS])
        raise invalid(
            f"model '{config.name}': unexpected platform type '{config.platform}', expected one of {expected},"
            " or 'backend' instead"
        )
    return _PLATFORMS[config.platform]


def _of_files(config: ModelConfig, folder: ModelFolder) -> str:
    versions = folder.versions()
    for backend, default in FILENAMES.items():
        filename = config.default_model_filename or default
        matches = filename.endswith(default.removeprefix("model"))
        if matches and any((folder.path / str(version) / filename).exists() for version in versions):
            return backend
    if "." in config.name:
        return config.name.rpartition(".")[2]
    raise invalid(
        f"Invalid model name: Could not determine backend for model '{config.name}' with no backend in model"
        " configuration. Expected model name of the form 'model.<backend_name>'."
        f" Set 'backend' in {folder.path / 'config.pbtxt'}, or put a model.py or model.onnx into a version folder"
        f" (found: {', '.join(map(str, versions)) or 'none'})"
    )
