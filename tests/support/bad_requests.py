"""Requests that no server may accept, what Triton answers to them, and what we do.

The numbers are the rows of the table of HTTP errors in Triton's behaviour as it was observed. Triton answers several of
a client's mistakes with 500: ours are always 4xx, with the same words in them.
"""

# ruff: noqa: E501 (a table)
from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.clients import tensor

VECTOR = [1.0, 2.0, 3.0, 4.0]
A, B = tensor("INPUT0", "FP32", [4], VECTOR), tensor("INPUT1", "FP32", [4], VECTOR)
DEPTH = 100_000


@dataclass(frozen=True)
class Bad:
    """One bad request: `status` and a text in the error's message are what it has to get.

    `triton` is the status Triton gives where that is another, 0 where the request ends its process; `triton_says` its
    words where they are others.
    """

    row: str
    status: int
    says: str
    body: bytes
    model: str = "add_sub"
    verb: str = "infer"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    triton: int | None = None
    triton_says: str | None = None

    @property
    def path(self) -> str:
        return f"/v2/models/{self.model}/{self.verb}".rstrip("/")


def bad(row: str, says: str, value: Any, **more: Any) -> Bad:
    """A bad JSON body; 400 unless said otherwise."""
    status = more.pop("status", 400)
    return Bad(row, status, says, value if isinstance(value, bytes) else json.dumps(value).encode(), **more)


def binary(row: str, says: str, inputs: list[dict[str, Any]], tail: bytes, **more: Any) -> Bad:
    """A bad binary body: a JSON header and what follows it."""
    header = json.dumps({"inputs": inputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header)), **more.pop("headers", {})}
    return bad(row, says, header + tail, headers=headers, **more)


def raw(name: str, datatype: str, shape: list[int], size: Any) -> dict[str, Any]:
    """An input whose bytes follow the header."""
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


def changed(**how: Any) -> dict[str, Any]:
    """A good request but for its first input."""
    return {"inputs": [{**A, **how}, B]}


def without(key: str) -> dict[str, Any]:
    """A good request but for something missing in its first input."""
    return {"inputs": [{name: value for name, value in A.items() if name != key}, B]}


def text(shape: list[int], data: list[Any]) -> dict[str, Any]:
    """A request of the model `failing`."""
    return {"inputs": [tensor("HOW", "BYTES", shape, data)]}


def rows(shape: list[int], data: list[float]) -> dict[str, Any]:
    """A request of the model `batching`."""
    return {"inputs": [tensor("INPUT", "FP32", shape, data)]}


GOOD = {"inputs": [A, B]}
NOT_UNSIGNED = "attempt to access JSON non-unsigned-integer as unsigned-integer"

TABLE = [
    bad("1 unknown model", "Request for unknown model: 'nope' is not found", GOOD, model="nope", status=404),
    bad("1 its metadata", "Request for unknown model: 'nope' is not found", b"", model="nope", verb="", method="GET", status=404),
    bad("1 its config", "Request for unknown model: 'nope' is not found", b"", model="nope", verb="config", method="GET", status=404),
    bad("3 unknown version", "Request for unknown model: 'add_sub' version 7 is not found", GOOD, verb="versions/7/infer", status=404),
    bad("5 statistics", "requested model 'nope' is not available", b"", model="nope", verb="stats", method="GET"),
    bad("7 cut JSON", "failed to parse the request JSON buffer", b'{"inputs": [', triton=500),
    bad("7 no JSON", "failed to parse the request JSON buffer", b"inputs", triton=500),
    bad("7 two values", "failed to parse the request JSON buffer", b"{} {}", triton=500),
    bad("8 no inputs", "Unable to parse 'inputs'", {"id": "x"}, triton=500),
    bad("8 a list", "Unable to parse 'inputs'", [1], triton=500),
    bad("9 inputs no list", "Unable to parse 'inputs': attempt to access JSON non-array as array", {"inputs": {}}, triton=500),
    *(bad(f"10 no {key}", f"Unable to parse '{key}'", without(key), triton=500) for key in ("name", "datatype", "shape")),
    *(
        bad(f"11 shape {shape}", f"Unable to parse 'shape': {NOT_UNSIGNED}", changed(shape=shape), triton=500)
        for shape in ([-1], [4.0], ["4"])
    ),
    bad("12 no data", "Input must set only one of the following fields", without("data")),
    bad("12 two data", "Input must set only one of the following fields", changed(parameters={"binary_data_size": 16})),
    bad("13 too few", "Unable to parse 'data'", changed(data=[1.0]), triton=500),
    bad("13 too many", "Unable to parse 'data'", changed(data=[*VECTOR, 5.0]), triton=500),
    bad("14 text for a number", "Unable to parse 'data'", changed(data=["1", 2, 3, 4]), triton=500),
    bad("14 null for a number", "Unable to parse 'data'", changed(data=[None, 2, 3, 4]), triton=500),
    bad("14 number for a text", "Unable to parse JSON bytes array", text([1], [1]), model="failing", triton=500),
    bad("15 data no list", "attempt to access JSON non-array as array", changed(data=1.0), triton=500),
    bad("16 unknown datatype", "invalid datatype for input INPUT0", changed(datatype="FP31")),
    bad("17 other datatype", "data-type is 'FP64', but model 'add_sub' expects 'FP32'", changed(datatype="FP64")),
    bad("18 other shape", "unexpected shape for input 'INPUT0' for model 'add_sub'. Expected [4], got [3]", changed(shape=[3], data=VECTOR[:3])),
    bad("18 other rank", "unexpected shape for input 'INPUT0' for model 'add_sub'. Expected [4], got [2,2]", changed(shape=[2, 2])),
    bad("20 batch too large", "inference request batch-size must be <= 8 for 'batching'", rows([9, 1], [0.0] * 9), model="batching"),
    bad("22 no batch dimension", "has no shape but model requires batch dimension for 'batching'", rows([], [1.0]), model="batching"),
    bad("24 missing", "expected 2 inputs but got 1 inputs for model 'add_sub'", {"inputs": [A]}),
    bad("24 extra", "expected 2 inputs but got 3 inputs for model 'add_sub'", {"inputs": [A, B, {**A, "name": "C"}]}),
    bad("25 unknown name", "unexpected inference input 'C' for model 'add_sub'", {"inputs": [A, {**B, "name": "C"}]}),
    bad("26 twice", "input 'INPUT0' already exists in request", {"inputs": [A, A]}),
    bad("27 unknown output", "unexpected inference output 'NOPE' for model 'add_sub'", {**GOOD, "outputs": [{"name": "NOPE"}]}),
    binary("28 size is not the shape's", "input byte size mismatch for input 'INPUT0' for model 'add_sub'. Expected 16, got 12",
           [raw("INPUT0", "FP32", [4], 12), B], bytes(12)),
    binary("29 too short", "unexpected size for input 'INPUT0', expecting 4 additional bytes for model 'add_sub'",
           [raw("INPUT0", "FP32", [4], 16), B], bytes(12)),
    binary("30 too long", "unexpected additional input data for model 'add_sub'", [raw("INPUT0", "FP32", [4], 16), B], bytes(20)),
    binary("31 size negative", "Unable to parse 'binary_data_size'", [raw("INPUT0", "FP32", [4], -1), B], bytes(16), triton=500),
    binary("31 size a text", "Unable to parse 'binary_data_size'", [raw("INPUT0", "FP32", [4], "16"), B], bytes(16), triton=500),
    bad("32 header too long", "inference header size should be in range", GOOD, headers={"Inference-Header-Content-Length": "99999"}),
    bad("32 header negative", "inference header size should be in range", GOOD, headers={"Inference-Header-Content-Length": "-5"}),
    bad("32 header no number", "Unable to parse Inference-Header-Content-Length", GOOD,
        headers={"Inference-Header-Content-Length": "abc"}, triton_says="Raw request must only have 1 input"),
    binary("33 too many texts", "unexpected number of string elements 2 for inference input 'HOW' for model 'failing', expecting 1",
           [raw("HOW", "BYTES", [1], 10)], b"\1\0\0\0a\1\0\0\0b", model="failing"),
    binary("33 too few texts", "expected 1 string elements for inference input 'HOW' for model 'failing', got 0",
           [raw("HOW", "BYTES", [1], 0)], b"", model="failing"),
    binary("34 cut length", "incomplete string length indicator for inference input 'HOW'", [raw("HOW", "BYTES", [1], 3)], b"\1\0\0", model="failing"),
    binary("34 cut text", "incomplete string data for inference input 'HOW', expecting string of length 100",
           [raw("HOW", "BYTES", [1], 8)], b"\x64\0\0\0abcd", model="failing"),
    bad("35 bare body, two inputs", "Raw request must only have 1 input (found 1) to be deduced but got 2 inputs in 'add_sub'", bytes(16),
        headers={"Inference-Header-Content-Length": "0"}),
    bad("37 more elements than there are", "INPUT0", changed(shape=[1 << 62]), triton=0),
    bad("37 a product that wraps", "INPUT0", changed(shape=[1 << 32, 1 << 32, 4]), triton=0),
    binary("37 as binary", "INPUT0", [raw("INPUT0", "FP32", [1 << 62, 4], 16), B], bytes(16), triton=0),
    bad("38 parameter an object", "parameter 'x' has invalid type", {**GOOD, "parameters": {"x": {}}}),
    bad("39 reserved", "parameter keys starting with 'triton_' are reserved", {**GOOD, "parameters": {"triton_x": 1}}),
    bad("40 priority a text", "Unable to parse 'priority'", {**GOOD, "parameters": {"priority": "high"}}, triton=500),
    bad("41 parameters no object", "attempt to get members for non-object", {**GOOD, "parameters": 3}, triton=500),
    bad("41 id a number", "Unable to parse 'id'", {**GOOD, "id": 3}, triton=500),
    bad("unknown compression", "Unsupported compression type", GOOD, headers={"Content-Encoding": "br"}, status=501),
    bad("no gzip", "gzip", b"no gzip at all", headers={"Content-Encoding": "gzip"}, triton_says="Raw request"),
    bad("deep JSON", "nesting depth", b'{"inputs": ' + b"[" * DEPTH + b"]" * DEPTH + b"}", triton=0),
    bad("wrong method", "Method Not Allowed", b"", method="GET", status=405),
    bad("no such route", "Not Found", b"", verb="nope", method="GET", status=404),
    bad("version no number", "failed to get model version", GOOD, verb="versions/abc/infer"),
]  # fmt: skip

EVERY_ROW = [pytest.param(row, id=row.row) for row in TABLE]
