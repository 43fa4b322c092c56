"""The fields of MLServer's settings, with its names, defaults and types.

Where MLServer's own releases differ, both spellings are there; what has no meaning here is accepted and said so
(`WITHOUT_EFFECT`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64",
    "BYTES",
]  # fmt: skip

Port = Annotated[int, Field(ge=0, le=65535)]

WITHOUT_EFFECT = {
    "warm_workers": "instances always load their model before they are asked",
    "metrics_dir": "metrics of models are kept in shared memory",
    "parallel_workers_timeout": "--exit-timeout-secs says how long requests may take at exit",
}
"""Keys that MLServer knows and that change nothing here, with the reason."""


class Fields(BaseModel):
    """Numbers are taken for texts, as the manual's examples write versions; unknown keys are told by the reader."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=(), coerce_numbers_to_str=True)


class CorsSettings(Fields):
    """Which pages of other origins may ask."""

    allow_origins: list[str] | None = []
    allow_origin_regex: str | None = None
    allow_credentials: bool | None = False
    allow_methods: list[str] | None = ["GET"]
    allow_headers: list[str] | None = []
    expose_headers: list[str] | None = []
    max_age: int | None = 600


class ServerSettings(Fields):
    """`settings.json`: how the server runs. `debug` is off unless asked for; MLServer 1.7 has it on."""

    debug: bool = False
    parallel_workers: int = 1
    parallel_workers_timeout: int = 5
    environments_dir: str = ""
    model_repository_implementation: str | None = None
    model_repository_root: str = "."
    model_repository_implementation_args: dict[str, Any] = {}
    load_models_at_startup: bool = True
    server_name: str = "mlserver"
    server_version: str = ""
    extensions: list[str] = []
    host: str = "0.0.0.0"
    http_port: Port = 8080
    root_path: str = ""
    grpc_port: Port = 8081
    grpc_max_message_length: int | None = None
    cors_settings: CorsSettings | None = None
    metrics_endpoint: str | None = "/metrics"
    metrics_port: Port = 8082
    metrics_rest_server_prefix: str = "rest_server"
    metrics_dir: str = ""
    use_structured_logging: bool = False
    logging_settings: str | dict[str, Any] | None = None
    kafka_enabled: bool = False
    kafka_servers: str = "localhost:9092"
    kafka_topic_input: str = "mlserver-input"
    kafka_topic_output: str = "mlserver-output"
    tracing_server: str | None = None
    cache_enabled: bool = False
    cache_size: int = 100
    gzip_enabled: bool = True


class MetadataTensor(Fields):
    """An input or output as the metadata shows it; its shape counts the batch dimension."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: dict[str, Any] | None = None


class ModelParameters(Fields):
    """`parameters` of a model: where its artefacts are, and what its runtime wants to know; unknown keys are kept."""

    model_config = ConfigDict(extra="allow", protected_namespaces=(), coerce_numbers_to_str=True)

    uri: str | None = None
    version: str | None = None
    environment_path: str | None = None
    environment_tarball: str | None = None
    inference_pool_gid: str | None = None
    autogenerate_inference_pool_gid: bool = False
    format: str | None = None
    content_type: str | None = None
    extra: dict[str, Any] | None = {}


class ModelSettings(Fields):
    """`model-settings.json`: one version of one model."""

    implementation: str
    name: str = ""
    platform: str = ""
    versions: list[str] = []
    inputs: list[MetadataTensor] = []
    outputs: list[MetadataTensor] = []
    parallel_workers: int | None = None
    warm_workers: bool = False
    max_batch_size: Annotated[int, Field(ge=0)] = 0
    max_batch_time: Annotated[float, Field(ge=0.0)] = 0.0
    parameters: ModelParameters = ModelParameters()
    cache_enabled: bool = False
