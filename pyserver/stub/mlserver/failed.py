"""What a model raised, as clients hear it: MLServer's errors by their status, everything else as its own fault."""

from __future__ import annotations

from typing import Any, NamedTuple

from pyserver.stub.failures import full
from pyserver.stub.response import ErrorCode

_CODES = {
    400: ErrorCode.INVALID_ARG,
    404: ErrorCode.NOT_FOUND,
    422: ErrorCode.INVALID_ARG,
    500: ErrorCode.INTERNAL,
    501: ErrorCode.UNSUPPORTED,
    503: ErrorCode.UNAVAILABLE,
}


class Failure(NamedTuple):
    """Code, message, traceback for the log ("" for none), HTTP status."""

    code: ErrorCode
    message: str
    traceback: str
    status: int


def failure(error: BaseException, expected: Any) -> Failure:
    """`expected` is the class `MLServerError`: its text is for the client, and below 500 no fault of the model's."""
    status = getattr(error, "status_code", None)
    if isinstance(error, expected) and isinstance(status, int) and 400 <= status < 600:
        code = _CODES.get(status, ErrorCode.UNKNOWN)
        return Failure(code, str(error), full(error) if status >= 500 else "", status)
    kind = type(error)
    return Failure(ErrorCode.INTERNAL, f"{kind.__module__}.{kind.__qualname__}: {error}", full(error), 500)
