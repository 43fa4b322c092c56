"""HTTP headers and gRPC metadata of MLServer models: what they see of a request's, what they say with an answer."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_EVENT = "io.seldon.serving.inference."
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSAFE = re.compile(r"[^\t\x20-\x7e\xa0-\xff]")
_OWN = frozenset(
    ("content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "keep-alive", "upgrade",
     "inference-header-content-length", "trailer", "te")
)  # fmt: skip
"""Headers that only the server can know."""


@functools.lru_cache(64)
def _constant(server_name: str, model_name: str, what: str) -> tuple[tuple[str, str], ...]:
    namespace = _namespace()
    source = f"io.seldon.serving.deployment.{server_name}"
    headers = {
        "Ce-Specversion": "0.3",
        "Ce-Source": f"{source}.{namespace}" if namespace else source,
        "Ce-Type": _EVENT + what,
        "Ce-Modelid": model_name,
        "Ce-Inferenceservicename": server_name,
        "Ce-Endpoint": model_name,
    }
    if namespace:
        headers["Ce-Namespace"] = namespace
    return tuple((name, _safe(value)) for name, value in headers.items())


@functools.lru_cache(1)
def _namespace() -> str:
    try:
        return _NAMESPACE.read_text().strip()
    except OSError:
        return ""


def of_request(fields: Iterable[tuple[str, str]], server_name: str, model_name: str) -> bytes:
    """The headers of a request as JSON, names in lower case, with the CloudEvents ones but for the id's.

    Of a repeated header the last one counts.
    """
    headers = {name.lower(): value for name, value in fields}
    headers.update(_constant(server_name, model_name, "request"))
    return orjson.dumps(headers)


def of_response(own: dict[str, Any] | None, server_name: str, model_name: str, id: str) -> tuple[tuple[str, str], ...]:
    """The headers of an answer: the model's own, then the CloudEvents ones.

    Left out are names that are none, and those that only the server can know; of values what no header can hold.
    """
    made = _constant(server_name, model_name, "response")
    if id:
        safe = _safe(id)
        made = (*made, ("Ce-Id", safe), ("Ce-Requestid", safe))
    if not own:
        return made
    theirs = {name.lower() for name, _ in made} | _OWN
    mine = [(name, _safe(str(value))) for name, value in own.items() if _fits(name) and name.lower() not in theirs]
    return (*mine, *made)


def _fits(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _safe(value: str) -> str:
    return _UNSAFE.sub("?", value)
