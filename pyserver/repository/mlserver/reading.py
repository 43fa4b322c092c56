"""From a JSON file, and the variables behind it, to settings.

A key of the file counts for more than its variable, that for more than `.env`, that for more than the default; so it
is in MLServer, and the other way round than most would guess.
"""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from pyserver.errors import ServerError, invalid
from pyserver.repository.mlserver import variables
from pyserver.repository.mlserver.fields import (
    WITHOUT_EFFECT,
    CorsSettings,
    ModelParameters,
    ModelSettings,
    ServerSettings,
)
from pyserver.repository.mlserver.variables import Variables
from pyserver.repository.pbtxt import nearest

Some = TypeVar("Some", bound=BaseModel)

_NESTED: dict[str, type[BaseModel]] = {"parameters": ModelParameters, "cors_settings": CorsSettings}
_ENVIRONMENTS = ("environment_tarball", "environment_path")
_SHOWN = 60


class Read(NamedTuple):
    """The settings of a file, and what there is to say of its keys."""

    settings: ModelSettings
    notes: tuple[str, ...]


def server_settings(path: Path, given: Variables) -> tuple[ServerSettings, tuple[str, ...]]:
    """The settings in `settings.json` at `path`, or of the variables alone where there is no such file, and notes.

    ServerError (INVALID_ARG) names file and key.
    """
    there = path.is_file()
    document = load(path) if there else {}
    where = str(path) if there else "settings of the environment"
    filled = fill(ServerSettings, document, variables.SERVER, given, where)
    if isinstance(filled.get("cors_settings"), dict):
        filled["cors_settings"] = fill(CorsSettings, filled["cors_settings"], variables.SERVER, given, where)
    return validated(ServerSettings, filled, where), tuple(_notes(path, document, ServerSettings))


def model_settings(path: Path, given: Variables) -> Read:
    """The settings in `model-settings.json` at `path`; ServerError (INVALID_ARG) names file and key."""
    document = load(path)
    return Read(_model_settings(document, given, str(path)), tuple(_notes(path, document, ModelSettings)))


def settings_of_variables(given: Variables) -> ModelSettings | None:
    """The model that variables alone describe; None where they name no implementation."""
    if not given.get(f"{variables.MODEL}IMPLEMENTATION"):
        return None
    return _model_settings({}, given, "model of the environment")


def settings_of_document(document: dict[str, Any], where: str) -> ModelSettings:
    """Settings that come from neither: a custom repository has made them."""
    return validated(ModelSettings, document, where)


def load(path: Path) -> dict[str, Any]:
    """The JSON object in a file; ServerError (INVALID_ARG) with the line if it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise invalid(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise invalid(f"{path}: byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise invalid(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from None
    if not isinstance(document, dict):
        raise invalid(f"{path}: holds a {type(document).__name__}, expected an object")
    return document


def fill(kind: type[BaseModel], document: dict[str, Any], prefix: str, given: Variables, where: str) -> dict[str, Any]:
    """`document` with the keys that it lacks and for which there is a variable."""
    filled = dict(document)
    for name, field in kind.model_fields.items():
        text = given.get(prefix + name)
        if name not in document and text is not None:
            filled[name] = _parsed(text, field.annotation, f"{where}: {prefix}{name.upper()}")
    return filled


def validated(kind: type[Some], document: dict[str, Any], where: str) -> Some:
    """The settings that `document` describes; ServerError (INVALID_ARG) with every key that can't be taken."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise invalid(f"{where}: {'; '.join(map(_problem, error.errors()))}") from None


def _model_settings(document: dict[str, Any], given: Variables, where: str) -> ModelSettings:
    filled = fill(ModelSettings, document, variables.MODEL, given, where)
    if filled.get("parameters") is None:
        filled["parameters"] = {}
    if isinstance(filled["parameters"], dict):
        own = filled["parameters"]
        filled["parameters"] = fill(ModelParameters, own, variables.MODEL, given, where)
        for one, other in (_ENVIRONMENTS, _ENVIRONMENTS[::-1]):
            if one in own and other not in own:
                filled["parameters"].pop(other, None)  # a file that names its environment has named it
    return validated(ModelSettings, filled, where)


def _parsed(text: str, annotation: Any, where: str) -> Any:
    """A variable's text as its field wants it: JSON for what is no plain value."""
    kinds = _kinds(annotation)
    if not any(kind in (list, dict) or (isinstance(kind, type) and issubclass(kind, BaseModel)) for kind in kinds):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if str in kinds:
            return text
        raise invalid(f"{where}: expected JSON, got '{text[:_SHOWN]}' ({error.msg})") from None


def _kinds(annotation: Any) -> set[Any]:
    """What a field may be: the members of a union, without their arguments."""
    members = [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = list(typing.get_args(annotation))
    return {typing.get_origin(member) or member for member in members}


def _problem(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        return f"'{key}' is missing"
    return (
        f"'{key}': {error['msg'][0].lower()}{error['msg'][1:]}, got {json.dumps(error['input'], default=str)[:_SHOWN]}"
    )


def _notes(path: Path, document: dict[str, Any], kind: type[BaseModel]) -> typing.Iterator[str]:
    """Keys that change nothing: unknown ones, and those of MLServer's that have no meaning here."""
    for key, value in document.items():
        nested = _NESTED.get(key)
        if key in WITHOUT_EFFECT:
            yield f"{path}: '{key}' has no effect: {WITHOUT_EFFECT[key]}"
        elif key not in kind.model_fields and not key.startswith("_"):
            yield f"{path}: unknown key '{key}'{nearest(key, kind.model_fields)}"
        if nested is not None and isinstance(value, dict) and nested.model_config.get("extra") != "allow":
            yield from _notes(path, value, nested)


def named_in(path: Path) -> str:
    """The name that a file which can't be read as settings gives its model, as far as it can be told; "" if not."""
    try:
        name = load(path).get("name", "")
    except ServerError:
        return ""
    return name if isinstance(name, str) else ""
