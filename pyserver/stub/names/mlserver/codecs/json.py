"""JSON as codecs read and write it: numpy's numbers and arrays as well, floats that are not finite as null."""

from __future__ import annotations

import json
import math
from typing import Any, Union

import numpy as np


class JSONEncoder(json.JSONEncoder):
    """Writes numpy's types, bytes as text, times in ISO 8601, pydantic's objects."""

    def default(self, o: Any) -> Any:
        """As the standard library's."""
        if isinstance(o, np.ndarray):
            return o.tolist()
        if isinstance(o, np.generic):
            return o.item()
        if isinstance(o, (bytes, bytearray)):
            return bytes(o).decode()
        if hasattr(o, "isoformat"):
            return o.isoformat()
        if hasattr(o, "model_dump"):
            return o.model_dump()
        return super().default(o)


def encode_to_json_bytes(v: Any) -> bytes:
    """The JSON of `v`."""
    try:
        text = json.dumps(v, cls=JSONEncoder, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(v), cls=JSONEncoder, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def encode_to_json(v: Any, use_bytes: bool = True) -> Union[str, bytes]:
    """The JSON of `v`, as bytes or text."""
    made = encode_to_json_bytes(v)
    return made if use_bytes else made.decode()


def decode_json_input(item: Any) -> Any:
    """What a JSON text says."""
    return json.loads(item)


def _finite(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return _finite(value.tolist()) if isinstance(value, np.ndarray) else value
