"""Content type `datetime`: lists of times, ISO 8601 in the tensor."""

from __future__ import annotations

import datetime
from typing import Any, List, Union

from mlserver.codecs.base import InputCodec, register_input_codec
from mlserver.codecs.errors import CodecError
from mlserver.codecs.lists import is_list_of, mapped
from mlserver.codecs.string import decode_str, text_tensor
from mlserver.types import RequestInput, ResponseOutput


def _parsed(item: Any) -> datetime.datetime:
    text = decode_str(item)
    try:
        # A Z for UTC is understood from Python 3.11 on.
        return datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError as error:
        raise CodecError(f"not an ISO 8601 time: {error}") from None


def _written(item: Any) -> str:
    return item if isinstance(item, str) else str(item.isoformat())


@register_input_codec
class DatetimeCodec(InputCodec):
    """Lists of times."""

    ContentType = "datetime"
    TypeHint = List[Union[str, datetime.datetime]]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Lists of times."""
        return is_list_of(payload, datetime.datetime)

    @classmethod
    def encode_output(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> ResponseOutput:
        """An output; `use_bytes` says whether of bytes or of text."""
        return text_tensor(ResponseOutput, name, cls._encoded(payload, use_bytes), "datetime")  # type: ignore[no-any-return]

    @classmethod
    def encode_input(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> RequestInput:
        """An input; `use_bytes` says whether of bytes or of text."""
        return text_tensor(RequestInput, name, cls._encoded(payload, use_bytes), "datetime")  # type: ignore[no-any-return]

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> List[datetime.datetime]:
        """The times."""
        return mapped(response_output.data, _parsed)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> List[datetime.datetime]:
        """The times."""
        return mapped(request_input.data, _parsed)

    @staticmethod
    def _encoded(payload: Any, use_bytes: bool) -> List[Any]:
        texts = mapped(list(payload), _written)
        return mapped(texts, str.encode) if use_bytes else texts
