"""What a custom handler's parameters get of an HTTP request, by FastAPI's rules for the commonest of them.

FastAPI itself is not needed. Its markers (`Header()`, `Cookie()`, `Query()`, `Path()`, `Body()`, `Depends()`), which a
model can only have where its environment has it, are known by their names, and what they demand of values (`gt=0`) by
pydantic.
"""

from __future__ import annotations

import inspect
import json
import typing
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import pydantic
from pydantic.fields import FieldInfo

_PLACES = {"Header": "header", "Cookie": "cookie", "Query": "query", "Path": "path", "Body": "body"}
_DEPENDS = "Depends"


class Missing:
    """No value, and no default."""


class Call(NamedTuple):
    """One HTTP request to a handler: headers by lower-case name, all values of a query's names."""

    headers: Dict[str, str]
    path: Dict[str, str]
    query: Dict[str, List[str]]
    body: bytes


class RefusedError(Exception):
    """Arguments that can't be had: `details` says which, as pydantic does."""

    def __init__(self, details: List[Dict[str, Any]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in details))
        self.details = details


class Parameter(NamedTuple):
    """One parameter: where its value is (`place`, under `name`), what it is to be, and what it is otherwise."""

    name: str
    place: str
    alias: str
    adapter: Any
    default: Any
    many: bool = False
    depends: Any = None
    embed: bool = False


class Arguments:
    """The parameters of one function; TypeError for one that has no type that a request can give.

    `whole_body` says that the body is the value of the only parameter that is in it.
    """

    def __init__(self, function: Callable[..., Any], path: typing.Collection[str]) -> None:
        hints = _hints(function)
        self._parameters: List[Parameter] = []
        for name, given in inspect.signature(function).parameters.items():
            if given.kind in (given.VAR_POSITIONAL, given.VAR_KEYWORD):
                continue
            self._parameters.append(_parameter(name, hints.get(name, given.annotation), given.default, path))
        bodies = [found for found in self._parameters if found.place == "body"]
        self.whole_body = len(bodies) == 1 and not bodies[0].embed

    def all(self) -> Iterator[Parameter]:
        """All parameters that a request has values for, those of what others depend on as well."""
        for found in self._parameters:
            if found.depends is None:
                yield found
            else:
                yield from found.depends[1].all()

    async def of(self, call: Call) -> Dict[str, Any]:
        """The arguments, by name. RefusedError where the request lacks one, or has it in another form."""
        details: List[Dict[str, Any]] = []
        made: Dict[str, Any] = {}
        body = self._body(call)
        for found in self._parameters:
            try:
                made[found.name] = await self._value(found, call, body)
            except pydantic.ValidationError as error:
                details += [_detail(dict(said), self._place(found)) for said in error.errors(include_url=False)]
            except RefusedError as error:
                details += error.details
        if details:
            raise RefusedError(details)
        return made

    def _body(self, call: Call) -> Any:
        if not call.body or all(found.place != "body" for found in self._parameters):
            return Missing
        try:
            return json.loads(call.body)
        except (ValueError, RecursionError) as error:
            said = {"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error", "ctx": {"error": str(error)}}
            raise RefusedError([said]) from None

    async def _value(self, found: Parameter, call: Call, body: Any) -> Any:
        if found.depends is not None:
            function, own = found.depends
            returned = function(**await own.of(call))
            return await returned if hasattr(returned, "__await__") else returned
        given = self._given(found, call, body)
        if given is not Missing:
            return found.adapter.validate_python(given)
        if found.default is Missing:
            said = {"type": "missing", "loc": self._place(found), "msg": "Field required", "input": None}
            raise RefusedError([said])
        return found.default

    def _given(self, found: Parameter, call: Call, body: Any) -> Any:
        if found.place == "body":
            if self.whole_body or body is Missing:
                return body
            return body.get(found.alias, Missing) if isinstance(body, dict) else Missing
        if found.place == "query":
            values = call.query.get(found.alias)
            return Missing if not values else values if found.many else values[-1]
        if found.place == "cookie":
            return _cookies(call.headers.get("cookie", "")).get(found.alias, Missing)
        return (call.headers if found.place == "header" else call.path).get(found.alias, Missing)

    def _place(self, found: Parameter) -> List[Any]:
        return ["body"] if found.place == "body" and self.whole_body else [found.place, found.alias]


def _hints(function: Callable[..., Any]) -> Dict[str, Any]:
    """The annotations, evaluated where they can be."""
    try:
        if hasattr(typing, "Annotated"):
            return typing.get_type_hints(function, include_extras=True)
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        return {}


def _parameter(name: str, annotation: Any, default: Any, path: typing.Collection[str]) -> Parameter:
    kind, marker = _marked(annotation, default)
    if marker is not None:
        default = Missing if default is marker and type(marker).__name__ == _DEPENDS else _default_of(marker, default)
    elif default is inspect.Parameter.empty:
        default = Missing
    if type(marker).__name__ == _DEPENDS:
        function = marker.dependency or kind
        wrong = noted(function)
        if wrong is not None:
            raise TypeError(f"parameter '{name}' depends on {function!r}: {wrong}")
        return Parameter(name, "", "", None, Missing, False, (function, Arguments(function, path)))
    place = _PLACES[type(marker).__name__] if marker is not None else "path" if name in path else _natural(kind)
    alias = getattr(marker, "alias", None) or (name.replace("_", "-") if place == "header" else name)
    try:
        wanted = Any if kind is inspect.Parameter.empty else _constrained(annotation, marker)
        adapter = pydantic.TypeAdapter(wanted)
    except pydantic.PydanticUserError as error:
        raise TypeError(f"parameter '{name}' is a {kind!r}, which no request can give: {error.message}") from None
    alias = alias.lower() if place == "header" else alias
    many = any(_origin(member) in (list, set, tuple, frozenset) for member in _members(kind))
    return Parameter(name, place, alias, adapter, default, many, None, bool(getattr(marker, "embed", False)))


def _constrained(annotation: Any, marker: Any) -> Any:
    """The type with all that is said of its values: beside it (`Annotated`), or by a marker that is the default."""
    if marker is None or marker in getattr(annotation, "__metadata__", ()):
        return annotation
    if isinstance(marker, FieldInfo) and hasattr(typing, "Annotated"):
        constraints = tuple(marker.metadata)
        return typing.Annotated[(annotation, *constraints)] if constraints else annotation
    return annotation


def _marked(annotation: Any, default: Any) -> Any:
    """The type of a parameter, and its marker, None for none."""
    known = (*_PLACES, _DEPENDS)
    kind = annotation
    metadata = getattr(annotation, "__metadata__", ())
    if metadata:
        kind = annotation.__origin__
    for marker in (*metadata, default):
        if type(marker).__name__ in known:
            return kind, marker
    return kind, None


def _default_of(marker: Any, default: Any) -> Any:
    own = marker.default if default is marker or default is inspect.Parameter.empty else default
    return Missing if own is ... or type(own).__name__ == "PydanticUndefinedType" else own


def _natural(kind: Any) -> str:
    """Where a value without a marker comes from: objects and lists from the body, plain values from the query."""
    for member in _members(kind):
        bare = _origin(member)
        if isinstance(bare, type) and (issubclass(bare, (pydantic.BaseModel, dict, list, set, tuple))):
            return "body"
        if hasattr(bare, "__dataclass_fields__"):
            return "body"
    return "query"


def _members(kind: Any) -> Any:
    """The types of a union, however it is written; a type itself if it is none."""
    is_union = _origin(kind) is typing.Union or type(kind).__name__ == "UnionType"
    return typing.get_args(kind) if is_union else (kind,)


def _cookies(header: str) -> Dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value.strip('"') for name, _, value in pairs if name}


def _origin(kind: Any) -> Any:
    return typing.get_origin(kind) or kind


def _detail(said: Dict[str, Any], place: List[Any]) -> Dict[str, Any]:
    said["loc"] = [*place, *said["loc"]]
    return said


def noted(handler: Any) -> Optional[str]:
    """Why a function can't be a handler, None if it can."""
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        return "it is a generator, expected a function that returns its answer"
    return None
