"""Every failure that may reach a client: one exception class, eight codes.

The codes are Triton's (the numbers are those of its C API and of `pb_utils.TritonError`); how each becomes an HTTP
status or a gRPC code is `pyserver.protocol.status`'s business alone.
"""

from __future__ import annotations

import enum


class ErrorCode(enum.IntEnum):
    """What went wrong, in the field's own words."""

    UNKNOWN = 0
    INTERNAL = 1
    NOT_FOUND = 2
    INVALID_ARG = 3
    UNAVAILABLE = 4
    UNSUPPORTED = 5
    ALREADY_EXISTS = 6
    CANCELLED = 7


class ServerError(Exception):
    """A request, or a load, that failed: `message` is written for the person who reads it at the other end.

    `status` is the HTTP status that an MLServer model chose, 0 for what follows from the code.

    `retry_after` (seconds) is given where asking again later is the right thing to do.
    """

    def __init__(self, code: ErrorCode, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.status = 0


def invalid(message: str) -> ServerError:
    """The client's mistake: 400 / INVALID_ARGUMENT."""
    return ServerError(ErrorCode.INVALID_ARG, message)


def not_found(message: str) -> ServerError:
    """A thing that is not here: 404 / NOT_FOUND."""
    return ServerError(ErrorCode.NOT_FOUND, message)


def unavailable(message: str, retry_after: float | None = None) -> ServerError:
    """Not now: 503 / UNAVAILABLE."""
    return ServerError(ErrorCode.UNAVAILABLE, message, retry_after)


def unsupported(message: str) -> ServerError:
    """Not here at all: 501 / UNIMPLEMENTED."""
    return ServerError(ErrorCode.UNSUPPORTED, message)


def internal(message: str) -> ServerError:
    """Our own fault, or the model's: 500 / INTERNAL."""
    return ServerError(ErrorCode.INTERNAL, message)
