"""The V2 messages beside inference: from wire bytes to what the planes are asked, and from their answers to wire bytes.

The planes speak the dictionaries of the REST protocol, whose keys are these messages' field names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from pyserver.errors import invalid, unsupported
from pyserver.proto import inference as pb
from pyserver.protocol import status

M = TypeVar("M", bound=Message)


def parse(kind: type[M], data: bytes) -> M:
    """A message out of its bytes; ServerError where they are not one."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise invalid(f"failed to parse the {kind.DESCRIPTOR.name}: {error}") from None


def parse_nothing(data: bytes) -> None:
    """A request without fields: whatever it holds is not for us."""


def parse_named(data: bytes) -> tuple[str, str]:
    """Name and version out of a ModelReady-, ModelMetadata-, ModelConfig- or ModelStatisticsRequest: all alike."""
    message = parse(pb.ModelMetadataRequest, data)
    return message.name, message.version


def parse_index(data: bytes) -> bool:
    """Whether an index request wants the ready models alone."""
    message = parse(pb.RepositoryIndexRequest, data)
    _check_repository(message.repository_name)
    return message.ready


def parse_load(data: bytes) -> tuple[str, dict[str, str | bytes]]:
    """The model to load, and its parameters: `config` as JSON text, each `file:<path>` as its content."""
    message = parse(pb.RepositoryModelLoadRequest, data)
    _check_repository(message.repository_name)
    parameters: dict[str, str | bytes] = {}
    for key, value in message.parameters.items():
        if key == "config":
            parameters[key] = _choice(key, value, "string_param")
        elif key.startswith("file:"):
            parameters[key] = _choice(key, value, "bytes_param")
        else:
            raise invalid(f"unrecognized load parameter '{key}'.")
    return message.model_name, parameters


def parse_unload(data: bytes) -> tuple[str, bool]:
    """The model to unload, and whether the models it is made of go as well."""
    message = parse(pb.RepositoryModelUnloadRequest, data)
    _check_repository(message.repository_name)
    dependents = False
    for key, value in message.parameters.items():
        if key == "unload_dependents":
            dependents = _choice(key, value, "bool_param")
    return message.model_name, dependents


def parse_region(data: bytes) -> str:
    """The name out of a status or unregister request of shared memory, the system's or CUDA's: all alike."""
    return parse(pb.SystemSharedMemoryStatusRequest, data).name


def parse_register(data: bytes) -> tuple[str, str, int, int]:
    """Name, key, offset and size of the system region to register."""
    message = parse(pb.SystemSharedMemoryRegisterRequest, data)
    return message.name, message.key, message.offset, message.byte_size


def parse_register_cuda(data: bytes) -> tuple[str, bytes, int, int]:
    """Name, handle, device and size of the CUDA region to register."""
    message = parse(pb.CudaSharedMemoryRegisterRequest, data)
    return message.name, message.raw_handle, message.device_id, message.byte_size


def _check_repository(name: str) -> None:
    if name:
        raise unsupported(f"'repository_name' specification is not supported, got '{name}'")


def _choice(key: str, value: Any, expected: str) -> Any:
    given = value.WhichOneof("parameter_choice")
    if given != expected:
        raise invalid(f"invalid value type for '{key}' parameter, expected {expected}, got {given}.")
    return getattr(value, expected)


def parse_log_settings(data: bytes) -> dict[str, Any]:
    """The settings of the log to change; what has no value is none."""
    settings = parse(pb.LogSettingsRequest, data).settings
    chosen = {key: value.WhichOneof("parameter_choice") for key, value in settings.items()}
    return {key: getattr(settings[key], choice) for key, choice in chosen.items() if choice is not None}


def log_settings(document: Mapping[str, Any]) -> bytes:
    """A LogSettingsResponse."""
    fields = {bool: "bool_param", int: "uint32_param", str: "string_param"}
    settings = {key: {fields[type(value)]: value} for key, value in document.items()}
    return _from_json(pb.LogSettingsResponse(), {"settings": settings})


def parse_trace_setting(data: bytes) -> tuple[str, dict[str, Any] | None]:
    """The model ("" for all), and the settings to change: text, a list of it, or None to clear one.

    None in place of the settings where there is none to change.
    """
    message = parse(pb.TraceSettingRequest, data)
    changes = {key: _several(key, list(value.value)) for key, value in message.settings.items()}
    return message.model_name, changes or None


def _several(key: str, values: list[str]) -> str | list[str] | None:
    if not values:
        return None
    return values if key == "trace_level" or len(values) > 1 else values[0]


def trace_setting(document: Mapping[str, Any]) -> bytes:
    """A TraceSettingResponse."""
    listed = {key: [value] if isinstance(value, str) else value for key, value in document.items()}
    return _from_json(pb.TraceSettingResponse(), {"settings": {key: {"value": each} for key, each in listed.items()}})


def nothing(result: None = None) -> bytes:
    """A response without fields."""
    return b""


def server_live(live: bool) -> bytes:
    """A ServerLiveResponse."""
    return pb.ServerLiveResponse(live=live).SerializeToString()


def server_ready(ready: bool) -> bytes:
    """A ServerReadyResponse."""
    return pb.ServerReadyResponse(ready=ready).SerializeToString()


def model_ready(ready: bool) -> bytes:
    """A ModelReadyResponse."""
    return pb.ModelReadyResponse(ready=ready).SerializeToString()


def server_metadata(metadata: Mapping[str, Any]) -> bytes:
    """A ServerMetadataResponse: name, version, extensions."""
    return pb.ServerMetadataResponse(**metadata).SerializeToString()


def model_metadata(metadata: Mapping[str, Any]) -> bytes:
    """A ModelMetadataResponse: name, versions, platform, inputs, outputs."""
    return _from_json(pb.ModelMetadataResponse(), metadata)


def model_config(text: str) -> bytes:
    """A ModelConfigResponse out of the config's JSON text."""
    response = pb.ModelConfigResponse()
    json_format.Parse(text, response.config, ignore_unknown_fields=True)
    return response.SerializeToString()


def statistics(models: Sequence[Mapping[str, Any]]) -> bytes:
    """A ModelStatisticsResponse out of the statistics of each model version."""
    return _from_json(pb.ModelStatisticsResponse(), {"model_stats": models})


def index(models: Sequence[Mapping[str, Any]]) -> bytes:
    """A RepositoryIndexResponse out of the index's entries."""
    return _from_json(pb.RepositoryIndexResponse(), {"models": status.index_told(models)})


def system_regions(regions: Sequence[Mapping[str, Any]]) -> bytes:
    """A SystemSharedMemoryStatusResponse out of the status of each region."""
    return _from_json(pb.SystemSharedMemoryStatusResponse(), {"regions": {each["name"]: each for each in regions}})


def cuda_regions(regions: Sequence[Mapping[str, Any]]) -> bytes:
    """A CudaSharedMemoryStatusResponse, likewise."""
    return _from_json(pb.CudaSharedMemoryStatusResponse(), {"regions": {each["name"]: each for each in regions}})


def _from_json(message: Message, value: Mapping[str, Any]) -> bytes:
    json_format.ParseDict(value, message, ignore_unknown_fields=True)
    return message.SerializeToString()
