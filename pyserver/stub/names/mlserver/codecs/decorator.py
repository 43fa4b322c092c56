"""`decode_args`: a predict method whose parameters are inputs and whose result is outputs, by their type hints."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from datetime import datetime
from typing import Any, Callable, Dict, List, Tuple, Union

import numpy as np

from mlserver.codecs.base import InputCodec, RequestCodec, input_codecs, request_codecs
from mlserver.codecs.base64 import Base64Codec
from mlserver.codecs.datetime import DatetimeCodec
from mlserver.codecs.errors import CodecError, CodecNotFound, InputsNotFound, OutputNotFound
from mlserver.codecs.numpy import NumpyCodec
from mlserver.codecs.string import StringCodec
from mlserver.codecs.utils import DefaultOutputPrefix
from mlserver.types import InferenceRequest, InferenceResponse

_UNIONS = (Union, getattr(types, "UnionType", Union))


class One(InputCodec):
    """A single value, by the codec of lists of such."""

    def __init__(self, codec: Any, take: Callable[[Any], Any]) -> None:
        self._codec = codec
        self._take = take

    def can_encode(self, payload: Any) -> bool:  # type: ignore[override]
        """Whether a list of it could be encoded."""
        return bool(self._codec.can_encode(self._wrapped(payload)))

    def encode_output(self, name: str, payload: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """An output of one element."""
        return self._codec.encode_output(name, self._wrapped(payload), **kwargs)

    def decode_input(self, request_input: Any) -> Any:  # type: ignore[override]
        """The only element. CodecError if there are others."""
        found = list(self._codec.decode_input(request_input))
        if len(found) != 1:
            raise CodecError(f"Input '{request_input.name}' has {len(found)} elements, expected one")
        return self._take(found[0])

    def _wrapped(self, payload: Any) -> Any:
        return np.array([payload]) if self._codec is NumpyCodec else [payload]


def _number(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda found: kind(np.asarray(found).reshape(()).item())


_MORE: Dict[Any, Any] = {
    List[datetime]: DatetimeCodec,
    str: One(StringCodec, str),
    bytes: One(Base64Codec, bytes),
    datetime: One(DatetimeCodec, lambda found: found),
    int: One(NumpyCodec, _number(int)),
    float: One(NumpyCodec, _number(float)),
    bool: One(NumpyCodec, _number(bool)),
}
"""Hints beyond those of the registered codecs."""


def _normalised(hint: Any) -> Any:
    """`Optional[X]` and `X | None` as X, `list[X]` as `List[X]`, an array of any element type as an array."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        inner = [argument for argument in arguments if argument is not type(None)]
        return _normalised(inner[0]) if len(inner) == 1 else hint
    if origin is list and len(arguments) == 1:
        return List[_normalised_element(arguments[0])]  # type: ignore[misc]
    return np.ndarray if origin is np.ndarray else hint


def _normalised_element(hint: Any) -> Any:
    if typing.get_origin(hint) in _UNIONS:
        return Union[tuple(typing.get_args(hint))]
    return hint


def _codec_of(hint: Any, name: str, is_input: bool) -> Any:
    wanted = _normalised(hint)
    codec = input_codecs.of_hint(wanted) or request_codecs.of_hint(wanted)
    if codec is None:
        try:
            codec = _MORE.get(wanted)
        except TypeError:  # a hint without a hash
            codec = None
    if codec is None:
        raise CodecNotFound(name=name, payload_type=str(hint), is_input=is_input)
    return codec


def _is_request_codec(codec: Any) -> bool:
    return isinstance(codec, RequestCodec) or (inspect.isclass(codec) and issubclass(codec, RequestCodec))


class SignatureCodec(RequestCodec):
    """Requests as the keyword arguments of a function, and its results as responses. CodecNotFound for other hints."""

    def __init__(self, predict: Callable[..., Any]) -> None:
        hints = _hints(predict)
        returned = hints.pop("return", None)
        self.input_codecs = {name: _codec_of(hint, name, True) for name, hint in hints.items()}
        self.output_hints = _outputs(returned)
        self.output_codecs = [_codec_of(hint, "", False) for hint in self.output_hints]
        parameters = inspect.signature(predict).parameters.values()
        self._required = [
            found.name for found in parameters if found.name in hints and found.default is inspect.Parameter.empty
        ]
        self._pools = [name for name, codec in self.input_codecs.items() if _is_request_codec(codec)]

    def decode_request(self, request: InferenceRequest) -> Dict[str, Any]:  # type: ignore[override]
        """The arguments. InputsNotFound for inputs without a parameter, and for parameters without an input."""
        values: Dict[str, Any] = {}
        others = []
        for found in request.inputs:
            codec = self.input_codecs.get(found.name)
            if codec is None or found.name in self._pools:
                others.append(found)
            else:
                values[found.name] = codec.decode_input(found)
        if self._pools and (others or self._pools[0] in self._required):
            values[self._pools[0]] = self._pooled(self.input_codecs[self._pools[0]], request, others)
        elif others:
            raise InputsNotFound(others, self.input_codecs)
        missing = [name for name in self._required if name not in values]
        if missing:
            raise InputsNotFound(missing, [found.name for found in request.inputs])
        return values

    @staticmethod
    def _pooled(codec: Any, request: InferenceRequest, inputs: List[Any]) -> Any:
        from mlserver.codecs.utils import decode_request_input

        for found in inputs:
            decode_request_input(found)
        part = InferenceRequest.model_construct(parameters=request.parameters, inputs=inputs)
        return codec.decode_request(part)

    def encode_response(  # type: ignore[override]
        self, model_name: str, payload: Any, model_version: Any = None, **kwargs: Any
    ) -> InferenceResponse:
        """The outputs `output-0`, `output-1`, ...; a data frame's are its columns. OutputNotFound for other types."""
        values = payload if isinstance(payload, tuple) else (payload,)
        outputs: List[Any] = []
        for at, value in enumerate(values):
            outputs += self._encoded(at, value)
        return InferenceResponse.model_construct(
            {"model_name", "outputs"} | ({"model_version"} if model_version else set()),
            model_name=model_name,
            model_version=model_version,
            outputs=outputs,
        )

    def _encoded(self, at: int, value: Any) -> List[Any]:
        if at >= len(self.output_codecs) or not self.output_codecs[at].can_encode(value):
            raise OutputNotFound(at, type(value), self.output_hints)
        codec = self.output_codecs[at]
        if _is_request_codec(codec):
            return list(codec.encode_response("", value).outputs)
        return [codec.encode_output(f"{DefaultOutputPrefix}{at}", value)]


def _hints(predict: Callable[..., Any]) -> Dict[str, Any]:
    """The hints, evaluated; `X | None` also by Pythons that don't know it, as long as it is not evaluated there."""
    try:
        hints = typing.get_type_hints(predict)
    except TypeError as error:
        raise TypeError(
            f"{predict.__qualname__}: Python {sys.version_info[:2]} can't read its hints: {error}"
        ) from None
    hints.pop("self", None)
    return hints


def _outputs(hint: Any) -> List[Any]:
    if hint is None:
        return []
    if typing.get_origin(hint) is tuple:
        return list(typing.get_args(hint))
    return [hint]


def decode_args(predict: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method of inputs and outputs, by their type hints, a `predict`; sync or async, as it is."""
    codec = SignatureCodec(predict)

    def made(self: Any, result: Any) -> InferenceResponse:
        return codec.encode_response(self.name, result, self.version)

    if inspect.iscoroutinefunction(predict):

        @functools.wraps(predict)
        async def decoded_async(self: Any, request: InferenceRequest) -> InferenceResponse:
            return made(self, await predict(self, **codec.decode_request(request)))

        return decoded_async

    @functools.wraps(predict)
    def decoded(self: Any, request: InferenceRequest) -> InferenceResponse:
        return made(self, predict(self, **codec.decode_request(request)))

    return decoded


__all__: Tuple[str, ...] = ("SignatureCodec", "decode_args")
