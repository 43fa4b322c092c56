"""Objects of pydantic classes without validation, and tensor data that stay arrays until somebody wants a list.

What is built here was checked by the server, or comes from an array. It serves the classes of any `mlserver.types`.
"""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np

_set = object.__setattr__


def built(kind: Any, values: Dict[str, Any], said: Any = None, extra: Any = None) -> Any:
    """An object of a pydantic 2 class. `values` are all its fields, `said` the names of those that count as set."""
    made = kind.__new__(kind)
    _set(made, "__dict__", values)
    _set(made, "__pydantic_fields_set__", set(values) if said is None else said)
    _set(made, "__pydantic_extra__", extra)
    _set(made, "__pydantic_private__", None)
    return made


class InputSource:
    """The elements of an input, in the request arena.

    `text` says that its BYTES came as JSON strings, `nested` that they came in nested lists.
    `array` is a view, valid while the request runs.
    """

    __slots__ = ("_tensor", "nested", "text")

    def __init__(self, tensor: Any, text: bool, nested: bool) -> None:
        self._tensor = tensor
        self.text = text
        self.nested = nested

    def array(self) -> Any:
        """The elements, in the tensor's shape."""
        return self._tensor.as_numpy()

    def listed(self) -> List[Any]:
        """The elements as the list that came."""
        array = self.array()
        if self.text and array.dtype.kind == "O":
            array = np.array([item.decode() for item in array.ravel().tolist()] or [], object).reshape(array.shape)
        return (array if self.nested else array.ravel()).tolist()  # type: ignore[no-any-return]


class ArraySource:
    """The elements of an output that is an array: numbers, or objects (bytes, text, None)."""

    __slots__ = ("_array",)
    text = True
    nested = False

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    def array(self) -> np.ndarray[Any, Any]:
        """The array."""
        return self._array

    def listed(self) -> List[Any]:
        """Its elements, flat, None for NaN."""
        flat = self._array.ravel()
        if flat.dtype.kind == "f":
            absent = np.isnan(flat)
            if absent.any():
                flat = flat.astype(object)
                flat[absent] = None
        return flat.tolist()


_kinds: Dict[Any, Any] = {}


def lazy_kind(tensor_data: Any) -> Any:
    """The subclass of a TensorData class whose objects have a `_source` instead of a `root` until that is asked for."""
    known = _kinds.get(tensor_data)
    if known is not None:
        return known

    class LazyData(tensor_data):  # type: ignore[misc,unused-ignore]
        def __getattr__(self, name: str) -> Any:
            if name != "root":
                return super().__getattr__(name)
            root = self.__dict__["_source"].listed()
            self.__dict__["root"] = root
            return root

    LazyData.__name__ = tensor_data.__name__
    LazyData.__qualname__ = tensor_data.__qualname__
    _kinds[tensor_data] = LazyData
    return LazyData


def lazy_data(kind: Any, source: Any) -> Any:
    """An object of a `lazy_kind`."""
    return built(kind, {"_source": source}, {"root"})


def source_of(data: Any) -> Any:
    """The source of tensor data, None if they are a list, or became one, which may have been changed."""
    held = data.__dict__
    return None if "root" in held else held.get("_source")
