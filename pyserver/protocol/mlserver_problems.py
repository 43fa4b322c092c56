"""All that is wrong with a request to an MLServer model: who reads it stops at the first, its client wants all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyserver.protocol import mlserver_schema as schema
from pyserver.protocol.mlserver_schema import SchemaError

_MOST = 100
"""As many problems are told of one request."""

Place = list[str | int]


def details(document: Any) -> list[dict[str, Any]]:
    """A detail for each problem of a document, in its order; none for one that is sound."""
    look = _Look()
    body: Place = ["body"]
    fields = look.at(schema.mapping, document, body)
    if fields is None:
        return look.details
    look.optional(schema.text, fields, "id", body)
    look.optional(schema.mapping, fields, "parameters", body)
    inputs = look.member(fields, "inputs", body)
    listed = look.at(schema.listed, inputs, [*body, "inputs"]) if "inputs" in fields else ()
    for number, item in enumerate(listed or ()):
        look.input(item, [*body, "inputs", number])
    for number, item in enumerate(look.optional(schema.listed, fields, "outputs", body) or ()):
        place = [*body, "outputs", number]
        output = look.at(schema.mapping, item, place)
        if output is not None:
            look.typed(schema.text, output, "name", place)
            look.optional(schema.mapping, output, "parameters", place)
    return look.details


class _Look:
    """Notes what the checks of `mlserver_schema` raise."""

    def __init__(self) -> None:
        self.details: list[dict[str, Any]] = []

    def at(self, check: Callable[[Any, Place], Any], value: Any, place: Place) -> Any:
        """`value` as the check gives it, None where it can't be."""
        try:
            return check(value, place)
        except SchemaError as error:
            if len(self.details) < _MOST:
                self.details.append(error.detail)
            return None

    def member(self, fields: dict[str, Any], key: str, place: Place) -> Any:
        """A field, which must be there."""
        return self.at(lambda fields, place: schema.member(fields, key, place), fields, place)

    def typed(self, check: Callable[[Any, Place], Any], fields: dict[str, Any], key: str, place: Place) -> None:
        """A field, which must be there and pass the check."""
        if key not in fields:
            self.member(fields, key, place)
        else:
            self.at(check, fields[key], [*place, key])

    def optional(self, check: Callable[[Any, Place], Any], fields: dict[str, Any], key: str, place: Place) -> Any:
        """A field that may be missing, or null."""
        return None if fields.get(key) is None else self.at(check, fields[key], [*place, key])

    def input(self, item: Any, place: Place) -> None:
        """One input."""
        fields = self.at(schema.mapping, item, place)
        if fields is None:
            return
        self.typed(schema.text, fields, "name", place)
        self.typed(schema.shape, fields, "shape", place)
        self.typed(schema.datatype, fields, "datatype", place)
        parameters = self.optional(schema.mapping, fields, "parameters", place) or {}
        if "binary_data_size" not in parameters:
            self.member(fields, "data", place)
