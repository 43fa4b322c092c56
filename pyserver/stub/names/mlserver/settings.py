"""The settings of a model and of the server, as the server has resolved them: nothing is read from variables here."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from typing import Any, Dict, List, Optional, Union

import pydantic

from mlserver.types import MetadataTensor
from mlserver.types.base import BaseModel as TypesModel


class BaseSettings(TypesModel):
    """What settings have in common."""

    model_config = pydantic.ConfigDict(extra="ignore", populate_by_name=True, protected_namespaces=())


class CORSSettings(BaseSettings):
    """Who may ask from a browser."""

    allow_origins: Optional[List[str]] = []
    allow_origin_regex: Optional[str] = None
    allow_credentials: Optional[bool] = False
    allow_methods: Optional[List[str]] = ["GET"]
    allow_headers: Optional[List[str]] = []
    expose_headers: Optional[List[str]] = []
    max_age: Optional[int] = 600


class Settings(BaseSettings):
    """The server's settings."""

    model_config = pydantic.ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())

    debug: bool = False
    parallel_workers: int = 1
    parallel_workers_timeout: int = 5
    environments_dir: str = ""
    model_repository_implementation: Any = None
    model_repository_root: str = "."
    model_repository_implementation_args: Dict[str, Any] = {}
    load_models_at_startup: bool = True
    server_name: str = "mlserver"
    server_version: str = ""
    extensions: List[str] = []
    host: str = "0.0.0.0"
    http_port: int = 8080
    root_path: str = ""
    grpc_port: int = 8081
    grpc_max_message_length: Optional[int] = None
    cors_settings: Optional[CORSSettings] = None
    metrics_endpoint: Optional[str] = "/metrics"
    metrics_port: int = 8082
    metrics_rest_server_prefix: str = "rest_server"
    metrics_dir: str = ""
    use_structured_logging: bool = False
    logging_settings: Optional[Union[str, Dict[str, Any]]] = None
    kafka_enabled: bool = False
    kafka_servers: str = "localhost:9092"
    kafka_topic_input: str = "mlserver-input"
    kafka_topic_output: str = "mlserver-output"
    tracing_server: Optional[str] = None
    cache_enabled: bool = False
    cache_size: int = 100
    gzip_enabled: bool = True


class ModelParameters(BaseSettings):
    """A model's parameters; unknown keys are kept."""

    model_config = pydantic.ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())

    uri: Optional[str] = None
    version: Optional[str] = None
    environment_path: Optional[str] = None
    environment_tarball: Optional[str] = None
    inference_pool_gid: Optional[str] = None
    autogenerate_inference_pool_gid: bool = False
    format: Optional[str] = None
    content_type: Optional[str] = None
    extra: Optional[Dict[str, Any]] = {}


class ModelSettings(BaseSettings):
    """A model's settings. `implementation` is its class, imported when it is asked for."""

    implementation_: str = pydantic.Field(alias="implementation")
    name: str = ""
    platform: str = ""
    versions: Optional[List[str]] = []
    inputs: Optional[List[MetadataTensor]] = []
    outputs: Optional[List[MetadataTensor]] = []
    parallel_workers: Optional[int] = None
    warm_workers: Optional[bool] = False
    max_batch_size: Optional[int] = 0
    max_batch_time: Optional[float] = 0.0
    parameters: Optional[ModelParameters] = None
    cache_enabled: Optional[bool] = False

    _source: Optional[str] = pydantic.PrivateAttr(default=None)

    def __init__(self, **values: Any) -> None:
        if inspect.isclass(values.get("implementation")):
            values["implementation"] = _path_of(values["implementation"])
        super().__init__(**values)

    @classmethod
    def model_validate(cls, obj: Any, *args: Any, **kwargs: Any) -> ModelSettings:
        """As pydantic's; a key `_source` says which file it was."""
        source = None
        if isinstance(obj, dict):
            obj = dict(obj)
            source = obj.pop("_source", None)
            if inspect.isclass(obj.get("implementation")):
                obj["implementation"] = _path_of(obj["implementation"])
        made = super().model_validate(obj, *args, **kwargs)
        made._source = source if source is not None else made._source
        return made

    @classmethod
    def parse_obj(cls, obj: Any) -> ModelSettings:
        """Pydantic 1's name of `model_validate`."""
        return cls.model_validate(obj)

    @classmethod
    def parse_file(cls, path: Any, **kwargs: Any) -> ModelSettings:
        """The settings in a model-settings.json."""
        with open(path) as file:
            return cls.model_validate({**json.load(file), "_source": str(path)})

    def model_dump(self, *, by_alias: bool = True, **kwargs: Any) -> Dict[str, Any]:
        """As a type's."""
        return super().model_dump(by_alias=by_alias, **kwargs)

    def model_dump_json(self, *, by_alias: bool = True, **kwargs: Any) -> str:
        """As a type's."""
        return super().model_dump_json(by_alias=by_alias, **kwargs)

    @property
    def implementation(self) -> Any:
        """The model's class, its folder being looked into first."""
        folder = os.path.dirname(os.path.abspath(self._source)) if self._source else None
        if folder is not None and folder not in sys.path:
            sys.path.insert(0, folder)
        module, _, name = self.implementation_.rpartition(".")
        return getattr(importlib.import_module(module), name)

    @implementation.setter
    def implementation(self, value: Any) -> None:
        self.implementation_ = _path_of(value)

    @property
    def version(self) -> Optional[str]:
        """The version in the parameters."""
        return None if self.parameters is None else self.parameters.version


def _path_of(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__name__}"
