"""A model's configuration: read, made whole, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyserver.errors import invalid
from pyserver.proto import model_config
from pyserver.repository import document, pbtxt, validate, versions
from pyserver.repository.backends import fill_backend
from pyserver.repository.folder import ModelFolder, check_name
from pyserver.repository.normalise import normalise

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig


def prepare_versions(
    folder: ModelFolder, override: str | None = None, config_name: str = "", gpus: Sequence[int] = ()
) -> dict[int, ModelConfig]:
    """The configuration of each version that is to be served, ascending; as for `prepare`.

    A Triton model has one for all of them, MLServer's versions each have their own.
    """
    folder.check()
    if not folder.of_mlserver:
        config = prepare(folder, override, config_name, gpus)
        return dict.fromkeys(versions.select(config, folder.versions()), config)
    if override is not None:
        raise invalid(f"failed to load '{folder.name}': 'config' is for Triton's models, this one is MLServer's")
    from pyserver.repository.mlserver.config import configured

    found = {version: configured(folder, version) for version in folder.versions()}
    for config in found.values():
        normalise(config, gpus)
        validate.check_settings(config)
    return found


def prepare(
    folder: ModelFolder, override: str | None = None, config_name: str = "", gpus: Sequence[int] = ()
) -> ModelConfig:
    """Return the whole configuration of a model, defaults filled in, checked but for its tensors.

    `override` (JSON) stands in for its config.pbtxt. Its inputs and outputs may still be completed by the model: after
    that, `complete.merge` makes it whole again and checks them; `validate.check` does without. ServerError
    (INVALID_ARG) says all that is wrong.
    """
    folder.check()
    config = read_config(folder, config_name) if override is None else read_override(folder, override)
    normalise(config, gpus)
    validate.check_settings(config)
    return config


def read_config(folder: ModelFolder, config_name: str = "") -> ModelConfig:
    """Read configs/<config_name>.pbtxt, or else config.pbtxt, or else nothing: the backend is told by the files.

    The result has a name, and a backend or platform. ServerError (INVALID_ARG) as for `pbtxt.read`, and for another
    model's name.
    """
    path = path_of(folder, config_name)
    config = model_config.ModelConfig() if path is None else pbtxt.read(path)
    return named(folder, config)


def read_override(folder: ModelFolder, text: str) -> ModelConfig:
    """Read a configuration that came with a load request, as JSON."""
    return named(folder, document.from_json(text))


def path_of(folder: ModelFolder, config_name: str) -> Path | None:
    """The file that configures a model, None if it has none; ServerError (INVALID_ARG) if that can't be one."""
    names = ["config.pbtxt"]
    if config_name:
        check_name(config_name)
        names.insert(0, f"configs/{config_name}.pbtxt")
    for name in names:
        path = folder.path / name
        try:
            if path.is_file():
                return path
            there = path.is_symlink() or path.exists()
        except OSError as error:
            raise invalid(f"failed to read text proto from {path}: {error.strerror}") from None
        if there:
            raise invalid(f"failed to read text proto from {path}: it is not a file")
    return None


def named(folder: ModelFolder, config: ModelConfig) -> ModelConfig:
    """The configuration with its name and backend filled in; ServerError (INVALID_ARG) if they can't be."""
    if config.name and config.name != folder.name:
        raise invalid(
            f"unexpected directory name '{folder.name}' for model '{config.name}',"
            f" directory name must equal model name ({folder.path})"
        )
    config.name = folder.name
    fill_backend(config, folder)
    return config
