"""What data are as lists."""

from __future__ import annotations

from typing import Any, Callable, Iterator, List


def is_list_of(payload: Any, instance_type: Any) -> bool:
    """Whether this is a list of nothing but these."""
    return isinstance(payload, list) and all(isinstance(item, instance_type) for item in payload)


def as_list(payload: Any) -> Iterator[Any]:
    """The elements: of a list, of tensor data, or the one thing that is no list."""
    root = getattr(payload, "root", payload)
    return iter(root) if isinstance(root, (list, tuple)) else iter([root])


def flattened(root: Any) -> List[Any]:
    """The elements of a list, nested or not, in order."""
    if not isinstance(root, list):
        return [root]
    if not any(isinstance(item, list) for item in root):
        return root
    return [element for item in root for element in flattened(item)]


def mapped(payload: Any, change: Callable[[Any], Any]) -> List[Any]:
    """Each element, changed; None stays None."""
    return [None if item is None else change(item) for item in flattened(list(as_list(payload)))]
