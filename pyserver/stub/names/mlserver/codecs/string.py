"""Content type `str`: lists of text, UTF-8 in the tensor."""

from __future__ import annotations

from typing import Any, List, Union

from mlserver.codecs.base import register_input_codec, register_request_codec
from mlserver.codecs.lists import mapped
from mlserver.codecs.text import TextCodec
from mlserver.codecs.utils import SingleInputRequestCodec

_Str = "utf-8"


def encode_str(elem: str) -> bytes:
    """Text to bytes."""
    return elem.encode(_Str)


def decode_str(encoded: Any, str_codec: str = _Str) -> str:
    """Bytes to text; "" for what is neither."""
    if isinstance(encoded, (bytes, bytearray)):
        return bytes(encoded).decode(str_codec)
    return encoded if isinstance(encoded, str) else ""


@register_input_codec
class StringCodec(TextCodec):
    """Lists of text."""

    ContentType = "str"
    TypeHint = List[str]
    _Element = str
    _decoded = staticmethod(decode_str)

    @staticmethod
    def _encoded(payload: Any, use_bytes: bool) -> List[Union[str, bytes]]:
        return mapped(list(payload), encode_str) if use_bytes else list(payload)


@register_request_codec
class StringRequestCodec(SingleInputRequestCodec):
    """Requests of one list of text."""

    ContentType = "str"
    InputCodec = StringCodec
