"""What is measured: one request, sent over and over, and the answer it has to get."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def unchanged(array: Array) -> Array:
    """What an identity model answers."""
    return array


@dataclass(frozen=True)
class Workload:
    """One figure.

    `protocol` is http or grpc, `form` how the tensor is written: binary, json, or proto. `array` makes the tensor that
    `model` gets, `answer` what it has to give for it; each peer writes the request in its own protocol's form.
    `streams` are gRPC calls at a time on each connection.
    """

    name: str
    title: str
    protocol: str
    form: str
    model: str
    array: Callable[[], Array] = field(repr=False)
    connections: int = 16
    streams: int = 1
    answer: Callable[[Array], Array] = field(default=unchanged, repr=False)

    @property
    def datatype(self) -> str:
        """Of the tensor."""
        return "BYTES" if self.model == "identity_bytes" else "FP32"

    @property
    def is_identity(self) -> bool:
        """Whether the answer is the tensor itself: the only model that those servers have that know no folders."""
        return self.answer is unchanged


def floats(columns: int) -> Callable[[], Array]:
    """A row of FP32 numbers, the same each time."""
    return lambda: np.random.default_rng(7).normal(0, 100, (1, columns)).astype(np.float32)


def strings(count: int) -> Callable[[], Array]:
    """A row of ASCII strings of 5 to 25 bytes, the same each time."""

    def make() -> Array:
        lengths = np.random.default_rng(7).integers(5, 26, count)
        return np.array([b"".join(b"%d" % (n % 10) for n in range(length)) for length in lengths], np.object_)[None, :]

    return make


def v2_json(array: Array, datatype: str) -> bytes:
    """The request in the V2 protocol's JSON: FP32 numbers with the 17 digits that numpy's tolist gives them."""
    data = [item.decode() for item in array.ravel()] if datatype == "BYTES" else array.ravel().tolist()
    tensor = {"name": "INPUT", "datatype": datatype, "shape": list(array.shape), "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def v2_binary(array: Array, datatype: str) -> tuple[bytes, int]:
    """The request in the V2 protocol's binary extension, and the length of its JSON header."""
    data = raw(array, datatype)
    size = {"binary_data_size": len(data)}
    tensor = {"name": "INPUT", "datatype": datatype, "shape": list(array.shape), "parameters": size}
    outputs = [{"name": "OUTPUT", "parameters": {"binary_data": True}}]
    header = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    return header + data, len(header)


def raw(array: Array, datatype: str) -> bytes:
    """The tensor's bytes as V2 has them."""
    if datatype != "BYTES":
        return array.tobytes()
    return b"".join(len(item).to_bytes(4, "little") + item for item in array.ravel())
