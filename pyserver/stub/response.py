"""Answers as a model makes them: pb_utils.InferenceResponse and pb_utils.TritonError."""

from __future__ import annotations

import enum
import json
from typing import Any, Iterable

from pyserver.stub.exceptions import TritonModelException, incompatible
from pyserver.stub.tensor import Tensor


class ErrorCode(enum.IntEnum):
    """Triton's error codes, by the numbers that travel to the server."""

    UNKNOWN = 0
    INTERNAL = 1
    NOT_FOUND = 2
    INVALID_ARG = 3
    UNAVAILABLE = 4
    UNSUPPORTED = 5
    ALREADY_EXISTS = 6
    CANCELLED = 7


class TritonError:
    """What went wrong with one request. TypeError for a code that is not one of the class constants."""

    __slots__ = ("_code", "_message")

    UNKNOWN = ErrorCode.UNKNOWN
    INTERNAL = ErrorCode.INTERNAL
    NOT_FOUND = ErrorCode.NOT_FOUND
    INVALID_ARG = ErrorCode.INVALID_ARG
    UNAVAILABLE = ErrorCode.UNAVAILABLE
    UNSUPPORTED = ErrorCode.UNSUPPORTED
    ALREADY_EXISTS = ErrorCode.ALREADY_EXISTS
    CANCELLED = ErrorCode.CANCELLED

    def __init__(self, message: str, code: ErrorCode = ErrorCode.INTERNAL) -> None:
        if not isinstance(message, str) or not isinstance(code, ErrorCode):
            raise incompatible(
                "TritonError(message: str, code: TritonError.<CODE> = TritonError.INTERNAL)", message, code
            )
        self._message = message
        self._code = code

    def message(self) -> str:
        """The text that the client reads."""
        return self._message

    def code(self) -> ErrorCode:
        """One of the class constants."""
        return self._code


class InferenceResponse:
    """The answer to one request: its outputs, or (`error`) why there are none, and parameters for the client.

    TypeError for other types, TritonModelException for parameters that are not a dict of str to bool, int or str.
    """

    __slots__ = ("_error", "_parameters", "_tensors")

    def __init__(
        self,
        output_tensors: Iterable[Tensor] = (),
        error: TritonError | None = None,
        parameters: dict[str, bool | int | str] | None = None,
    ) -> None:
        try:
            self._tensors = list(output_tensors)
        except TypeError:
            raise _incompatible(output_tensors, error) from None
        for tensor in self._tensors:
            if not isinstance(tensor, Tensor):
                raise _incompatible(output_tensors, error)
        if error is not None and not isinstance(error, TritonError):
            raise _incompatible(output_tensors, error)
        if parameters:
            check_parameters(parameters)
        self._error = error
        self._parameters = parameters

    def output_tensors(self) -> list[Tensor]:
        """The outputs, in the order given."""
        return self._tensors

    def has_error(self) -> bool:
        """Whether there is an error, and so no outputs."""
        return self._error is not None

    def error(self) -> TritonError | None:
        """The error, if there is one."""
        return self._error

    def parameters(self) -> str:
        """The parameters as a JSON object."""
        return json.dumps(self._parameters or {}, separators=(",", ":"))


def check_parameters(parameters: Any) -> None:
    """TritonModelException unless this is a dict of str to bool, int or str."""
    if not isinstance(parameters, dict):
        raise TritonModelException(f"Expect parameters to be a dict, found type {type(parameters)}")
    for key, value in parameters.items():
        if not isinstance(key, str):
            raise TritonModelException(f"Expect parameters keys to have type str, found type {type(key)}")
        if not isinstance(value, (bool, int, str)):
            raise TritonModelException(
                f"Expect parameters values to have type bool/int/str, found type {type(value)}: parameter '{key}'"
            )


def _incompatible(output_tensors: object, error: object) -> TypeError:
    signature = (
        "InferenceResponse(output_tensors: List[Tensor] = [], error: TritonError = None, parameters: dict = None)"
    )
    return incompatible(signature, output_tensors, error)
