"""The only place that knows HTTP statuses and gRPC code numbers: what a `ServerError` becomes on the wire."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import orjson

from pyserver.errors import ErrorCode, ServerError
from pyserver.protocol.restricted import RestrictedError

HTTP: dict[ErrorCode, int] = {
    ErrorCode.UNKNOWN: HTTPStatus.BAD_REQUEST,
    ErrorCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.INVALID_ARG: HTTPStatus.BAD_REQUEST,
    ErrorCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.UNSUPPORTED: HTTPStatus.NOT_IMPLEMENTED,
    ErrorCode.ALREADY_EXISTS: HTTPStatus.BAD_REQUEST,
    ErrorCode.CANCELLED: HTTPStatus.BAD_REQUEST,
}
"""Triton's own mapping: it knows no 408, 409, 413, 415, 429 or 499."""

GRPC: dict[ErrorCode, int] = {
    ErrorCode.UNKNOWN: 2,
    ErrorCode.INTERNAL: 13,
    ErrorCode.NOT_FOUND: 5,
    ErrorCode.INVALID_ARG: 3,
    ErrorCode.UNAVAILABLE: 14,
    ErrorCode.UNSUPPORTED: 12,
    ErrorCode.ALREADY_EXISTS: 6,
    ErrorCode.CANCELLED: 1,
}
"""The numbers of `grpc.StatusCode`."""

# An absolute path of two names or more; not a URL's, nor the REST API's own.
_FOLDERS = re.compile(r"(?<![\w/.:%~-])/(?!v[12]/)(?:[^\s/'\"`,;:()<>\[\]]+/)+([^\s/'\"`,;:()<>\[\]]*)")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,16}")

LONGEST = 8192
"""Characters of an error: gRPC's clients take no more than twice that in a status, with all other trailers."""

OK = int(HTTPStatus.OK)
BAD_REQUEST = int(HTTPStatus.BAD_REQUEST)
NOT_FOUND = int(HTTPStatus.NOT_FOUND)
METHOD_NOT_ALLOWED = int(HTTPStatus.METHOD_NOT_ALLOWED)
METHOD_NOT_ALLOWED = int(HTTPStatus.METHOD_NOT_ALLOWED)
UNPROCESSABLE = int(HTTPStatus.UNPROCESSABLE_ENTITY)
FAILED_PRECONDITION = 9
INTERNAL_SERVER_ERROR = int(HTTPStatus.INTERNAL_SERVER_ERROR)


def http_reason(status: int) -> str:
    """The words of a status line, `Not Found` for 404; empty for a status that HTTP doesn't name."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def http_status(error: ServerError) -> int:
    """The HTTP status of a failure."""
    return int(HTTPStatus.FORBIDDEN) if isinstance(error, RestrictedError) else error.status or HTTP[error.code]


def http_error(error: ServerError) -> tuple[int, bytes]:
    """The HTTP status and the JSON body of a failure."""
    return http_status(error), error_body(error.message)


def grpc_code(error: ServerError) -> int:
    """The gRPC code of a failure; MLServer's models say 422 where nothing but a precondition failed."""
    return FAILED_PRECONDITION if error.status == UNPROCESSABLE else GRPC[error.code]


def error_body(message: str) -> bytes:
    """`{"error": message}`, as it may be told. What UTF-8 can't hold (a lone surrogate) becomes a `?`."""
    return orjson.dumps({"error": told(message).encode("utf-8", "replace").decode()})


def told(message: str) -> str:
    """`message` for a client: of a path its last name, of an object's address nothing, and not more than LONGEST.

    The log has all of it.
    """
    if len(message) > LONGEST:
        message = message[: LONGEST - 3] + "..."
    if "/" in message:
        message = _FOLDERS.sub(r"\1", message)
    return _ADDRESS.sub("", message) if " at 0x" in message else message


def index_told(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The entries of a repository index, their reasons as they may be told."""
    return [{**entry, "reason": told(entry["reason"])} if entry.get("reason") else {**entry} for entry in entries]


def retry_after(error: ServerError) -> str | None:
    """The value of a `Retry-After` header, in whole seconds, at least one; None where asking again won't help."""
    return None if error.retry_after is None else str(max(1, math.ceil(error.retry_after)))
