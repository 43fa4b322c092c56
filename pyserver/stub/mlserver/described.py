"""What the OpenAPI documents say of a custom handler: an operation, in the words of OpenAPI 3.0, and its schemas."""

from __future__ import annotations

import inspect
import re
from typing import Any, Dict, List, Tuple

import pydantic

from pyserver.stub.mlserver.arguments import Arguments, Missing, Parameter

REFERENCE = "#/components/schemas/"
_IN_HEADERS = ("header", "cookie", "path", "query")
_CONVERTOR = re.compile(r"{(\w+):\w+}")
_BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_NULL = {"type": "null"}
Schemas = Dict[str, Any]


def described(path: str, method: Any, arguments: Arguments) -> Dict[str, Any]:
    """The path as a document has it, the operation, and the schemas that it refers to, by their names."""
    schemas: Schemas = {}
    bare = _CONVERTOR.sub(r"{\1}", path)
    parameters = list(arguments.all())
    said = [_parameter(found, schemas) for found in parameters if found.place in _IN_HEADERS]
    known = {found.alias for found in parameters if found.place == "path"}
    said += [_in_path(name) for name in dict.fromkeys(re.findall(r"{(\w+)}", bare)) if name not in known]
    operation: Dict[str, Any] = {
        "summary": (inspect.getdoc(method) or method.__name__).partition("\n")[0],
        "responses": {"200": _answer(method, schemas), "default": {"description": "What is wrong"}},
    }
    if said:
        operation["parameters"] = said
    bodies = [found for found in parameters if found.place == "body"]
    if bodies:
        operation["requestBody"] = _body(bodies, arguments.whole_body, schemas)
    return {"path": bare, "operation": operation, "schemas": schemas}


def _parameter(found: Parameter, schemas: Schemas) -> Dict[str, Any]:
    schema = _schema(found.adapter, schemas)
    required = found.place == "path" or found.default is Missing
    return {"name": found.alias, "in": found.place, "required": required, "schema": schema}


def _in_path(name: str) -> Dict[str, Any]:
    """A placeholder that the handler does not want to know."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _body(bodies: List[Parameter], whole: bool, schemas: Schemas) -> Dict[str, Any]:
    required = [found.alias for found in bodies if found.default is Missing]
    if whole:
        schema = _schema(bodies[0].adapter, schemas)
    else:
        properties = {found.alias: _schema(found.adapter, schemas) for found in bodies}
        schema = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}


def _answer(method: Any, schemas: Schemas) -> Dict[str, Any]:
    """The answer by the annotation of what is returned, where that says anything."""
    kind = inspect.signature(method).return_annotation
    schema: Dict[str, Any] = {}
    if kind is not inspect.Signature.empty and not isinstance(kind, str):
        try:
            schema = _schema(pydantic.TypeAdapter(kind), schemas)
        except (pydantic.PydanticUserError, NameError):
            pass  # a Response, whose body may be anything
    return {"description": "OK", "content": {"application/json": {"schema": schema}}}


def _schema(adapter: Any, schemas: Schemas) -> Dict[str, Any]:
    made, defined = _json_schema(adapter)
    schemas.update(defined)
    return made


def _json_schema(adapter: Any) -> Tuple[Dict[str, Any], Schemas]:
    try:
        made = adapter.json_schema(ref_template=REFERENCE + "{model}")
    except Exception:
        return {}, {}  # of a type that has no JSON schema, or a broken one: that is no reason not to serve
    defined = made.pop("$defs", {})
    return _in_3_0(made), {name: _in_3_0(schema) for name, schema in defined.items()}


def _in_3_0(schema: Any) -> Any:
    """A JSON schema of 2020 in the dialect of OpenAPI 3.0: no null type, no const, bounds that are flags."""
    if isinstance(schema, list):
        return [_in_3_0(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema == _NULL:
        return {}
    made = {name: _in_3_0(value) for name, value in schema.items()}
    if made.get("default", 0) is None:
        del made["default"]
    if isinstance(made.get("anyOf"), list) and _NULL in schema["anyOf"]:
        left = [_in_3_0(each) for each in schema["anyOf"] if each != _NULL]
        del made["anyOf"]
        made["nullable"] = True
        made.update({"anyOf": left} if len(left) > 1 else {"allOf": left} if "$ref" in left[0] else left[0])
    if "const" in made and "properties" not in made:
        made["enum"] = [made.pop("const")]
    for exclusive, bound in _BOUNDS.items():
        if isinstance(made.get(exclusive), (int, float)) and not isinstance(made[exclusive], bool):
            made[bound], made[exclusive] = made[exclusive], True
    return made
