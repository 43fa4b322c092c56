"""The only place that knows HTTP statuses and gRPC code numbers: what a `ServerError` becomes on the wire."""

from __future__ import annotations

import math
from http import HTTPStatus

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

OK = int(HTTPStatus.OK)
BAD_REQUEST = int(HTTPStatus.BAD_REQUEST)
NOT_FOUND = int(HTTPStatus.NOT_FOUND)
METHOD_NOT_ALLOWED = int(HTTPStatus.METHOD_NOT_ALLOWED)
INTERNAL_SERVER_ERROR = int(HTTPStatus.INTERNAL_SERVER_ERROR)


def http_reason(status: int) -> str:
    """The words of a status line, `Not Found` for 404; empty for a status that HTTP doesn't name."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def http_status(error: ServerError) -> int:
    """The HTTP status of a failure."""
    return int(HTTPStatus.FORBIDDEN) if isinstance(error, RestrictedError) else HTTP[error.code]


def http_error(error: ServerError) -> tuple[int, bytes]:
    """The HTTP status and the JSON body of a failure."""
    return http_status(error), error_body(error.message)


def error_body(message: str) -> bytes:
    """`{"error": message}`. What UTF-8 can't hold (a lone surrogate in a model's own words) becomes a `?`."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode()})


def retry_after(error: ServerError) -> str | None:
    """The value of a `Retry-After` header, in whole seconds, at least one; None where asking again won't help."""
    return None if error.retry_after is None else str(max(1, math.ceil(error.retry_after)))
