"""The lines of the input, and those of the output: one request and one answer, or error, each."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

PREPROCESSING = "preprocessing error"
INFERENCE = "inference error"


@dataclass(frozen=True, slots=True)
class Line:
    """One request: its number from 0, its document, and its id, made where it has none. `error` if it is none."""

    number: int
    document: dict[str, Any]
    id: str
    error: str = ""


def read(lines: Iterable[str]) -> Iterator[Line]:
    """Every line of the input; empty ones are none, but count."""
    for number, text in enumerate(lines):
        if text.strip():
            yield _line(number, text)


def grouped(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    """So many lines at a time."""
    left = iter(lines)
    while group := list(islice(left, size)):
        yield group


def answer(line: Line, document: dict[str, Any], inference_id: str) -> str:
    """The line of an answer: with the request's own id, its number, and the id of what was asked for it."""
    parameters = {**(document.get("parameters") or {}), "batch_index": line.number, "inference_id": inference_id}
    parameters.pop("headers", None)
    return _dumped({**document, "id": line.id, "parameters": parameters})


def failure(line: Line, status: str, message: str) -> str:
    """The line of a request that was not answered."""
    return _dumped({"parameters": {"batch_index": line.number}, "error": {"status": status, "msg": message}})


def _dumped(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _line(number: int, text: str) -> Line:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        return Line(number, {}, "", f"column {error.colno}: {error.msg}")
    problem = _problem(document)
    if problem:
        return Line(number, {}, "", problem)
    given = document.get("id")
    return Line(number, document, given if given else str(uuid.uuid4()))


def _problem(document: Any) -> str:
    if not isinstance(document, dict):
        return f"expected an object, got {type(document).__name__}"
    if not isinstance(document.get("id", ""), (str, type(None))):
        return f"'id': expected a text, got {json.dumps(document['id'])[:60]}"
    inputs = document.get("inputs")
    if not isinstance(inputs, list):
        return "'inputs': expected a list"
    for place, tensor in enumerate(inputs):
        missing = [key for key in ("name", "shape", "datatype", "data") if key not in _object(tensor)]
        if missing:
            return f"'inputs.{place}.{missing[0]}' is missing"
        shape = tensor["shape"]
        if not isinstance(shape, list) or not all(isinstance(size, int) and size >= 0 for size in shape):
            return f"'inputs.{place}.shape': expected a list of sizes"
    return ""


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def ordered(pieces: Iterable[tuple[int, Sequence[str]]]) -> Iterator[str]:
    """The texts of pieces that come in any order, in the order of their numbers from 0."""
    waiting: dict[int, Sequence[str]] = {}
    following = 0
    for number, texts in pieces:
        waiting[number] = texts
        while following in waiting:
            yield from waiting.pop(following)
            following += 1
