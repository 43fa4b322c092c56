"""`custom_handler` marks a method, `get_custom_handlers` finds the marked ones."""

from __future__ import annotations

import inspect
from typing import Any, Callable, List, Tuple

import pydantic

MARK = "__custom_handler__"


class CustomHandler(pydantic.BaseModel):
    """Where a method is to answer."""

    rest_path: str
    rest_method: str = "POST"


def custom_handler(rest_path: str, rest_method: str = "POST") -> Callable[[Any], Any]:
    """Let a method answer `rest_method` on `rest_path`."""

    def mark(method: Any) -> Any:
        setattr(method, MARK, CustomHandler(rest_path=rest_path, rest_method=rest_method))
        return method

    return mark


def get_custom_handlers(model: Any) -> List[Tuple[CustomHandler, Any]]:
    """The marked methods of a model, with where they are to answer."""
    methods = inspect.getmembers(model, callable)
    return [(getattr(method, MARK), method) for _, method in methods if hasattr(method, MARK)]
