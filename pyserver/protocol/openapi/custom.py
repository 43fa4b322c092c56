"""The routes that MLServer models answer themselves, in the documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_REFERENCE = "#/components/schemas/"
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9._-]")


def add(made: dict[str, Any], model: str, handlers: Iterable[Mapping[str, Any]]) -> None:
    """Add the handlers of a model to a document, where it has not the same path and method from another one.

    Their schemas are named after the model, so that those of several can stand side by side.
    """
    prefix = _UNNAMEABLE.sub("_", model) + "."
    for handler in handlers:
        document = handler.get("document")
        if document is None:
            continue
        text = json.dumps(document).replace(_REFERENCE, _REFERENCE + prefix)
        renamed = json.loads(text)
        item = made["paths"].setdefault(renamed["path"], {})
        method = handler["method"].lower()
        if method in item:
            continue
        item[method] = {"tags": [model], **renamed["operation"]}
        for name, schema in renamed["schemas"].items():
            made["components"]["schemas"][prefix + name] = schema
