"""What the codecs of lists have in common whose elements are text in the tensor."""

from __future__ import annotations

from typing import Any, ClassVar, List

from mlserver.codecs.base import InputCodec
from mlserver.codecs.lists import is_list_of, mapped
from mlserver.types import Parameters, RequestInput, ResponseOutput


def text_tensor(kind: Any, name: str, elements: List[Any], content_type: str) -> Any:
    """An input or output of BYTES, `[N, 1]`."""
    parameters = Parameters(content_type=content_type)
    return kind(name=name, datatype="BYTES", shape=[len(elements), 1], data=elements, parameters=parameters)


class TextCodec(InputCodec):
    """Lists of `_Element`s; a codec says how one is written and read."""

    _Element: ClassVar[Any] = None

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Lists of its elements."""
        return is_list_of(payload, cls._Element)

    @classmethod
    def encode_output(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> ResponseOutput:
        """An output; `use_bytes` says whether of bytes or of text."""
        return text_tensor(ResponseOutput, name, cls._encoded(payload, use_bytes), cls.ContentType)  # type: ignore[no-any-return]

    @classmethod
    def encode_input(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> RequestInput:
        """An input; `use_bytes` says whether of bytes or of text."""
        return text_tensor(RequestInput, name, cls._encoded(payload, use_bytes), cls.ContentType)  # type: ignore[no-any-return]

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> List[Any]:
        """The elements."""
        return mapped(response_output.data, cls._decoded)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> List[Any]:
        """The elements."""
        return mapped(request_input.data, cls._decoded)

    @staticmethod
    def _encoded(payload: Any, use_bytes: bool) -> List[Any]:
        raise NotImplementedError

    @staticmethod
    def _decoded(item: Any) -> Any:
        raise NotImplementedError
