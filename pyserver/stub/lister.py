"""What a custom model repository lists: `INTERPRETER lister.py`, told on stdin what to make.

The user's class is run here, in a process of its own, and never in the server's. It reads one JSON object with
`implementation` (module.Class), `arguments` (its keyword arguments), `path` (where Python is to look first) and `names`
(where it finds `mlserver`), and writes a JSON list of settings, each with its `_source`; what the class prints goes to
stderr.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
from typing import Any


def listed(given: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings of every model that the repository knows."""
    sys.path[:0] = given["path"]
    sys.path.append(given["names"])
    module, _, name = given["implementation"].rpartition(".")
    repository = getattr(importlib.import_module(module), name)(**given["arguments"])
    return [_document(settings) for settings in asyncio.run(_list(repository))]


async def _list(repository: Any) -> Any:
    found = repository.list()
    return await found if inspect.isawaitable(found) else found


def _document(settings: Any) -> dict[str, Any]:
    document: dict[str, Any] = settings.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    return {**document, "_source": getattr(settings, "_source", None)}


def main() -> int:
    """List, and tell the server."""
    importlib.import_module("boot").make_importable()  # by its bare name: this is a script beside it
    with os.fdopen(os.dup(1), "w") as result:
        os.dup2(2, 1)
        json.dump(listed(json.load(sys.stdin)), result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
