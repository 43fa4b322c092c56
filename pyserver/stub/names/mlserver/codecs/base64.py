"""Content type `base64`: lists of bytes, base64 in the tensor."""

from __future__ import annotations

import base64
import binascii
from typing import Any, List

from mlserver.codecs.base import register_input_codec
from mlserver.codecs.lists import mapped
from mlserver.codecs.text import TextCodec


@register_input_codec
class Base64Codec(TextCodec):
    """Lists of bytes."""

    ContentType = "base64"
    TypeHint = List[bytes]
    _Element = bytes

    @staticmethod
    def _encoded(payload: Any, use_bytes: bool) -> List[Any]:
        encoded = mapped(list(payload), base64.b64encode)
        return encoded if use_bytes else mapped(encoded, bytes.decode)

    @staticmethod
    def _decoded(item: Any) -> bytes:
        """What is not base64 is taken as it is."""
        raw = item.encode() if isinstance(item, str) else bytes(item)
        try:
            return base64.b64decode(raw, validate=True)
        except binascii.Error:
            return raw
