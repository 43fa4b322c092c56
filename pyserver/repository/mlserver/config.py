"""From MLServer's settings of one version to a model configuration."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pyserver.errors import invalid
from pyserver.proto import model_config
from pyserver.repository.backends import BUNDLED_BACKENDS
from pyserver.repository.folder import ModelFolder
from pyserver.repository.mlserver.fields import MetadataTensor, ModelSettings
from pyserver.repository.mlserver.folders import Member, MlserverFolder

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig

log = logging.getLogger(__name__)

BACKEND = "mlserver"
SETTINGS_PARAMETER = "MLSERVER_SETTINGS"
"""The configuration's parameter that holds the settings as JSON: MLServer's keys with an absolute `uri`, `_source` (the
path of the file), `_path` (folders in which Python is to look first) and `_runtimes` (one in which it looks last)."""
RUNTIMES = BUNDLED_BACKENDS / "mlserver_runtimes"
ENVIRONMENT_PARAMETER = "EXECUTION_ENV_PATH"

_DIMENSIONS = 8


def configured(folder: ModelFolder, version: int) -> ModelConfig:
    """The configuration of one version, not normalised; ServerError (INVALID_ARG) for an environment that isn't there.

    Tensors of the metadata that no configuration can have are left out: MLServer's metadata describes, and forbids
    nothing.
    """
    assert isinstance(folder, MlserverFolder), folder
    member = folder.member(version)
    settings = member.settings
    for note in member.notes:
        log.warning("model '%s': %s", folder.name, note)
    config = model_config.ModelConfig(name=folder.name, backend=BACKEND)
    config.version_policy.all.SetInParent()
    _batching(config, settings)
    for target, tensors in ((config.input, settings.inputs), (config.output, settings.outputs)):
        for tensor in _describable(tensors, batched=config.max_batch_size > 0):
            target.add(**tensor)
    config.instance_group.add(count=instances(member))
    config.response_cache.enable = settings.cache_enabled
    environment = environment_of(folder.name, member)
    if environment is not None:
        config.parameters[ENVIRONMENT_PARAMETER].string_value = str(environment)
    config.parameters[SETTINGS_PARAMETER].string_value = json.dumps(document(folder, member))
    return config


def document(folder: MlserverFolder, member: Member) -> dict[str, Any]:
    """The settings as the model's process gets them: what is set, with paths made absolute."""
    settings = member.settings.model_dump(exclude_unset=True, exclude_none=True)
    settings["name"] = folder.name
    parameters = settings.setdefault("parameters", {})
    parameters["uri"] = uri(member)
    if "environment_tarball" in parameters:
        parameters["environment_tarball"] = str(Path(member.folder, parameters["environment_tarball"]).absolute())
    if member.source is not None:
        settings["_source"] = str(member.source.absolute())
    settings["_runtimes"] = str(RUNTIMES)
    path = [member.folder, folder.repository, Path.cwd()]
    settings["_path"] = list(dict.fromkeys(str(entry.absolute()) for entry in path))
    return settings


def uri(member: Member) -> str:
    """Where the artefacts are: an absolute path, or what has a scheme of its own; the settings' folder if they don't
    say.
    """
    given = member.settings.parameters.uri
    if not given:
        return str(member.folder.absolute())
    if urlsplit(given).scheme not in ("", "file"):
        return given
    return os.path.normpath(Path(member.folder.absolute(), given.removeprefix("file://")))


def instances(member: Member) -> int:
    """How many processes serve the model: as many as it asks for, or else the server's settings; at least one."""
    own = member.settings.parallel_workers
    return max(1, member.workers if own is None else own)


def environment_of(name: str, member: Member) -> Path | None:
    """The archive or the folder in which the model runs, None for the server's own interpreter."""
    parameters = member.settings.parameters
    tarball, folder = parameters.environment_tarball, parameters.environment_path
    if tarball and folder:
        raise invalid(
            f"model '{name}': {member.source or 'variables'}: both 'environment_tarball' and 'environment_path' are"
            " given, expected one of them"
        )
    if tarball:
        return _existing(name, member, "environment_tarball", Path(member.folder.absolute(), tarball))
    if folder:
        expanded = os.path.expandvars(os.path.expanduser(folder))
        return _existing(name, member, "environment_path", Path.cwd() / expanded)
    return None


def _existing(name: str, member: Member, key: str, path: Path) -> Path:
    if not path.exists():
        raise invalid(f"model '{name}': {member.source or 'variables'}: 'parameters.{key}': there is no '{path}'")
    return Path(os.path.normpath(path))


def _batching(config: ModelConfig, settings: ModelSettings) -> None:
    """MLServer batches where both are given: at least two requests, and some time to wait for the second."""
    if settings.max_batch_size > 1 and settings.max_batch_time > 0:
        config.max_batch_size = settings.max_batch_size
        config.dynamic_batching.max_queue_delay_microseconds = round(settings.max_batch_time * 1e6)


def _describable(tensors: Iterable[MetadataTensor], batched: bool) -> Iterable[dict[str, Any]]:
    """The fields of the tensors that a configuration can have: without the batch dimension where there is one."""
    names: set[str] = set()
    for tensor in tensors:
        dims = tensor.shape[1:] if batched else tensor.shape
        sound = 0 < len(dims) <= _DIMENSIONS and all(size >= 1 or size == -1 for size in dims)
        if tensor.name and tensor.name not in names and sound:
            names.add(tensor.name)
            kind = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
            yield {"name": tensor.name, "data_type": model_config.DataType.Value(f"TYPE_{kind}"), "dims": dims}
