"""Content type `base64`: lists of bytes, base64 in the tensor."""

from __future__ import annotations

import base64
import binascii
from typing import Any, List

from mlserver.codecs.base import InputCodec, register_input_codec
from mlserver.codecs.lists import is_list_of, mapped
from mlserver.codecs.string import text_tensor
from mlserver.types import RequestInput, ResponseOutput


def _decoded(item: Any) -> bytes:
    """What is not base64 is taken as it is."""
    raw = item.encode() if isinstance(item, str) else bytes(item)
    try:
        return base64.b64decode(raw, validate=True)
    except binascii.Error:
        return raw


@register_input_codec
class Base64Codec(InputCodec):
    """Lists of bytes."""

    ContentType = "base64"
    TypeHint = List[bytes]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Lists of bytes."""
        return is_list_of(payload, bytes)

    @classmethod
    def encode_output(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> ResponseOutput:
        """An output; `use_bytes` says whether of bytes or of text."""
        return text_tensor(ResponseOutput, name, cls._encoded(payload, use_bytes), "base64")  # type: ignore[no-any-return]

    @classmethod
    def encode_input(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> RequestInput:
        """An input; `use_bytes` says whether of bytes or of text."""
        return text_tensor(RequestInput, name, cls._encoded(payload, use_bytes), "base64")  # type: ignore[no-any-return]

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> List[bytes]:
        """The bytes."""
        return mapped(response_output.data, _decoded)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> List[bytes]:
        """The bytes."""
        return mapped(request_input.data, _decoded)

    @staticmethod
    def _encoded(payload: Any, use_bytes: bool) -> List[Any]:
        encoded = mapped(list(payload), base64.b64encode)
        return encoded if use_bytes else mapped(encoded, bytes.decode)
