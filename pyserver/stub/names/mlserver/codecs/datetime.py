"""Content type `datetime`: lists of times, ISO 8601 in the tensor."""

from __future__ import annotations

import datetime
from typing import Any, List, Union

from mlserver.codecs.base import register_input_codec
from mlserver.codecs.errors import CodecError
from mlserver.codecs.lists import mapped
from mlserver.codecs.string import decode_str
from mlserver.codecs.text import TextCodec


def _written(item: Any) -> str:
    return item if isinstance(item, str) else str(item.isoformat())


@register_input_codec
class DatetimeCodec(TextCodec):
    """Lists of times."""

    ContentType = "datetime"
    TypeHint = List[Union[str, datetime.datetime]]
    _Element = datetime.datetime

    @staticmethod
    def _encoded(payload: Any, use_bytes: bool) -> List[Any]:
        texts = mapped(list(payload), _written)
        return mapped(texts, str.encode) if use_bytes else texts

    @staticmethod
    def _decoded(item: Any) -> datetime.datetime:
        text = decode_str(item)
        try:
            # A Z for UTC is understood from Python 3.11 on.
            return datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        except ValueError as error:
            raise CodecError(f"not an ISO 8601 time: {error}") from None
