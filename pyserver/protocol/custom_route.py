"""The routes that MLServer models answer themselves: paths and their placeholders, a request, an answer."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

import orjson

from pyserver.errors import internal
from pyserver.ipc import envelope
from pyserver.model.open_signature import Envelope, RawJson
from pyserver.protocol.mlserver_response import opened
from pyserver.types import InferResponse, OpenRequest

_PLACEHOLDER = re.compile(r"{(\w+)(?::(path|str|int|float|uuid))?}")
_FORMS = {
    "path": ".*",
    "int": "[0-9]+",
    "float": r"[0-9]+(?:\.[0-9]+)?",
    "uuid": "[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}",
}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = frozenset(("connection", "content-length", "transfer-encoding"))


class CustomAnswer(NamedTuple):
    """What a handler answers: status, headers, body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def match(route: str, path: str) -> dict[str, str] | None:
    """The values of a route's placeholders in a path as it was sent, decoded; None where the path is another."""
    found = _pattern(route).fullmatch(path)
    return None if found is None else {name: unquote(text) for name, text in found.groupdict().items()}


@functools.lru_cache(maxsize=1024)
def _pattern(route: str) -> re.Pattern[str]:
    """`{name}` is one segment, `{name:path}` any number of them, `{name:int}` one that looks so: FastAPI's routes."""
    text, at, seen = "", 0, set()
    for found in _PLACEHOLDER.finditer(route):
        text += re.escape(route[at : found.start()])
        name = found[1]
        unique = name not in seen and not name[0].isdigit()
        seen.add(name)
        form = _FORMS.get(found[2] or "", "[^/]+")
        text += f"(?P<{name}>{form})" if unique else form
        at = found.end()
    return re.compile(text + re.escape(route[at:]))


def request(
    model: str, version: str, number: int, path: dict[str, str], query: str, headers: Iterable[tuple[str, str]],
    body: bytes,
) -> OpenRequest:  # fmt: skip
    """A request to handler `number` of a model. Its body is a tensor that is none, the rest is in the envelope."""
    said = {"number": number, "path": path, "query": parse_qs(query, keep_blank_values=True)}
    fields = orjson.dumps({name.lower(): value for name, value in headers})
    packed = envelope.pack(fields, orjson.dumps({"handler": said}))
    inputs = [
        RawJson("body", envelope.DATATYPE, envelope.SHAPE, body),
        Envelope(envelope.NAME, envelope.DATATYPE, envelope.SHAPE, packed),
    ]
    return OpenRequest(model, version, "", inputs)


def answer(response: InferResponse) -> CustomAnswer:
    """What the handler answers, no memory of the response's in it; ServerError where it is no HTTP answer."""
    said = opened(response)
    code = said.rest.get("status")
    if not said.outputs or type(code) is not int or not 200 <= code < 600:
        raise internal(f"model '{response.model_name}': its handler answered with the status {code!r}")
    headers = [(name, value) for name, value in said.rest.get("headers", {}).items() if name not in _OURS]
    for name, value in headers:
        if not _NAME.fullmatch(name) or _FORBIDDEN.search(value):
            raise internal(f"model '{response.model_name}': its handler answered with the header {name!r}: {value!r}")
    return CustomAnswer(code, headers, bytes(said.outputs[0].data))
