"""Content type `str`: lists of text, UTF-8 in the tensor."""

from __future__ import annotations

from typing import Any, List, Union

from mlserver.codecs.base import InputCodec, register_input_codec, register_request_codec
from mlserver.codecs.lists import is_list_of, mapped
from mlserver.codecs.utils import SingleInputRequestCodec
from mlserver.types import Parameters, RequestInput, ResponseOutput

_Str = "utf-8"


def encode_str(elem: str) -> bytes:
    """Text to bytes."""
    return elem.encode(_Str)


def decode_str(encoded: Any, str_codec: str = _Str) -> str:
    """Bytes to text; "" for what is neither."""
    if isinstance(encoded, (bytes, bytearray)):
        return bytes(encoded).decode(str_codec)
    return encoded if isinstance(encoded, str) else ""


def text_tensor(kind: Any, name: str, elements: List[Any], content_type: str) -> Any:
    """An input or output of BYTES, `[N, 1]`."""
    parameters = Parameters(content_type=content_type)
    return kind(name=name, datatype="BYTES", shape=[len(elements), 1], data=elements, parameters=parameters)


@register_input_codec
class StringCodec(InputCodec):
    """Lists of text."""

    ContentType = "str"
    TypeHint = List[str]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Lists of text."""
        return is_list_of(payload, str)

    @classmethod
    def encode_output(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> ResponseOutput:
        """An output; `use_bytes` says whether of bytes or of text."""
        return text_tensor(ResponseOutput, name, cls._encoded(payload, use_bytes), "str")  # type: ignore[no-any-return]

    @classmethod
    def encode_input(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> RequestInput:
        """An input; `use_bytes` says whether of bytes or of text."""
        return text_tensor(RequestInput, name, cls._encoded(payload, use_bytes), "str")  # type: ignore[no-any-return]

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> List[str]:
        """The texts."""
        return mapped(response_output.data, decode_str)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> List[str]:
        """The texts."""
        return mapped(request_input.data, decode_str)

    @staticmethod
    def _encoded(payload: Any, use_bytes: bool) -> List[Union[str, bytes]]:
        return mapped(list(payload), encode_str) if use_bytes else list(payload)


@register_request_codec
class StringRequestCodec(SingleInputRequestCodec):
    """Requests of one list of text."""

    ContentType = "str"
    InputCodec = StringCodec
