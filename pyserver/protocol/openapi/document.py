"""The documents: paths with what they take and answer. Titles and tags are MLServer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pyserver.protocol.openapi import custom, example, schemas
from pyserver.protocol.openapi.schemas import Schema, reference

VERSION = "2.0"
MODEL = "/v2/models/{model_name}"
VERSIONED = f"{MODEL}/versions/{{model_version}}"

_TAGS = ("health", "inference", "metadata", "model", "server", "repository")


class Described(NamedTuple):
    """A model as the server describes it: its metadata document and its whole configuration.

    `handlers` are the routes that it answers itself; of one route of several models that with the smallest `number`
    has it. `single` says that a request has one response, so that `infer` serves it.
    """

    name: str
    metadata: dict[str, Any]
    config: dict[str, Any]
    handlers: Sequence[Mapping[str, Any]] = ()
    number: int = 0

    @property
    def single(self) -> bool:
        """Whether a request has one response."""
        return not self.config.get("model_transaction_policy", {}).get("decoupled", False)

    @property
    def generates(self) -> bool:
        """Whether `generate` is Triton's: MLServer's models take an inference request there."""
        return self.config.get("backend") != "mlserver"


def of_server(models: Sequence[Described], root: str = "") -> dict[str, Any]:
    """The document of all paths; each of the models adds an example, and its own routes."""
    names = {"type": "string", "enum": [model.name for model in models]} if models else {"type": "string"}
    named = [_parameter("model_name", names)]
    versioned = [*named, _parameter("model_version", {"type": "string"})]
    paths = _server_paths()
    for base, parameters in ((MODEL, named), (VERSIONED, versioned)):
        for path, item in _model_paths(base, "").items():
            paths[path] = {**item, "parameters": parameters}
    examples = {model.name: {"value": made} for model in models if model.single and (made := _example(model))}
    for path in (f"{MODEL}/infer", f"{VERSIONED}/infer"):
        _content(paths[path]["post"])["examples"] = examples
    made = _document("Data Plane", paths, root)
    for model in sorted(models, key=lambda each: each.number):
        custom.add(made, model.name, model.handlers)
    return made


def of_model(model: Described, version: str = "", root: str = "") -> dict[str, Any]:
    """The document of one model, or of one version of it: its own inputs, outputs and example."""
    paths: dict[str, Any] = {}
    title = f"Data Plane for Model {model.name}" + (f" ({version})" if version else "")
    if not version:
        paths.update(_model_paths(MODEL, model.name, model.generates))
    for path, item in _model_paths(VERSIONED, model.name, model.generates).items():
        filled = path.replace("{model_version}", version) if version else path
        asked = [] if version else [_parameter("model_version", {"type": "string"})]
        paths[filled] = {**item, **({"parameters": asked} if asked else {})}
    for path, item in paths.items():
        if path.endswith(("/infer", "/generate", "_stream")):
            _specialise(path, item["post"], model)
    if not model.single:
        paths = {path: item for path, item in paths.items() if not path.endswith(("/infer", "/generate"))}
    made = _document(title, paths, root)
    custom.add(made, model.name, model.handlers)
    return made


def _specialise(path: str, operation: dict[str, Any], model: Described) -> None:
    content = _content(operation)
    if path.endswith("/infer") or not model.generates:
        made = _example(model)
        content["schema"] = schemas.request_of(schemas.tensors(model.metadata.get("inputs", ()), "RequestInput"))
        answer = schemas.response_of(schemas.tensors(model.metadata.get("outputs", ()), "ResponseOutput"))
        if not path.endswith("_stream"):
            operation["responses"]["200"]["content"]["application/json"]["schema"] = answer
    else:
        made = example.generation(model.metadata, model.config)
    if made is not None:
        content["example"] = made


def _example(model: Described) -> dict[str, Any] | None:
    return example.request(model.metadata, model.config)


def _document(title: str, paths: dict[str, Any], root: str) -> dict[str, Any]:
    return {
        "openapi": "3.0.3",
        "info": {"title": title, "version": VERSION},
        "servers": [{"url": root or "/"}],
        "tags": [{"name": name} for name in _TAGS],
        "paths": paths,
        "components": {"schemas": schemas.components()},
    }


def _server_paths() -> dict[str, Any]:
    load = {"post": _operation("model", "Load a model, or load it anew", None)}
    unload = {"post": _operation("model", "Stop serving a model", None)}
    asked = {"parameters": [_parameter("model_name", {"type": "string"})]}
    index = _operation("repository", "The models of the repositories and their states", "RepositoryIndexResponse")
    return {
        "/v2/health/live": {"get": _health("Whether the server runs", "LiveResponse")},
        "/v2/health/ready": {"get": _health("Whether the server is ready to infer", "ReadyResponse")},
        "/v2": {"get": _operation("server", "The server's metadata", "MetadataServerResponse")},
        "/v2/repository/index": {
            "post": {**index, "requestBody": {**_body("RepositoryIndexRequest", {}), "required": False}}
        },
        "/v2/repository/models/{model_name}/load": {**load, **asked},
        "/v2/repository/models/{model_name}/unload": {**unload, **asked},
    }


def _model_paths(base: str, name: str, generates: bool = True) -> dict[str, Any]:
    """The paths of a model; `name` fills the placeholder in, "" leaves it; `generates` as of `Described`."""
    base = base.replace("{model_name}", name) if name else base
    generate = {"type": "object", "additionalProperties": True}
    stream = _operation("inference", "Infer, with each response an event", None)
    # Without a schema: OpenAPI before 3.2 can't say of what kind each event is.
    stream["responses"]["200"]["content"] = {"text/event-stream": {}}
    infer = _operation("inference", "Infer", "InferenceResponse")
    paths: dict[str, Any] = {
        base: {"get": _operation("metadata", "The model's metadata", "MetadataModelResponse")},
        f"{base}/ready": {"get": _operation("health", "Whether the model is ready to infer", None)},
        f"{base}/infer": {"post": {**infer, "requestBody": _body("InferenceRequest")}},
    }
    if not generates:
        paths[f"{base}/infer_stream"] = {"post": {**stream, "requestBody": _body("InferenceRequest")}}
        return paths
    single = _operation("inference", "Infer, with a value for each input", generate)
    paths[f"{base}/generate"] = {"post": {**single, "requestBody": _body(generate)}}
    paths[f"{base}/generate_stream"] = {"post": {**stream, "requestBody": _body(generate)}}
    return paths


def _operation(tag: str, summary: str, answer: str | Schema | None) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "OK"}
    if answer is not None:
        done["content"] = {"application/json": {"schema": _schema(answer)}}
    refused = {
        "description": "What is wrong",
        "content": {"application/json": {"schema": reference("InferenceErrorResponse")}},
    }
    return {"tags": [tag], "summary": summary, "responses": {"200": done, "default": refused}}


def _health(summary: str, answer: str) -> dict[str, Any]:
    """Its bad news, 400, is no error."""
    operation = _operation("health", summary, answer)
    unwell = {**operation["responses"]["200"], "description": "Not so"}
    return {**operation, "responses": {**operation["responses"], "400": unwell}}


def _body(schema: str | Schema, made: Any = None) -> dict[str, Any]:
    content = {"schema": _schema(schema)}
    if made is not None:
        content["example"] = made
    return {"required": True, "content": {"application/json": content}}


def _content(operation: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = operation["requestBody"]["content"]["application/json"]
    return content


def _schema(schema: str | Schema) -> Schema:
    return reference(schema) if isinstance(schema, str) else schema


def _parameter(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}
