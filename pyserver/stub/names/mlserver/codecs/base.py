"""What codecs are, and the registry in which they are found: by content type, by payload, by type hint."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Optional, Type, Union

from mlserver.logging import logger
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput


class InputCodec:
    """Python values to the data of one input or output, and back."""

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = None

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether it takes `payload`."""
        return False

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        """An output that holds `payload`."""
        raise NotImplementedError

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        """The value in an output."""
        raise NotImplementedError

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        """An input that holds `payload`."""
        raise NotImplementedError

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        """The value in an input."""
        raise NotImplementedError

    @classmethod
    def encode(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        """The old name of `encode_output`."""
        return cls.encode_output(name, payload, **kwargs)

    @classmethod
    def decode(cls, request_input: RequestInput) -> Any:
        """The old name of `decode_input`."""
        return cls.decode_input(request_input)


class RequestCodec:
    """Python values to whole requests or responses, and back."""

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = None

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether it takes `payload`."""
        return False

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: Optional[str] = None, **kwargs: Any
    ) -> InferenceResponse:
        """A response that holds `payload`."""
        raise NotImplementedError

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """The value in a response."""
        raise NotImplementedError

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        """A request that holds `payload`."""
        raise NotImplementedError

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """The value in a request."""
        raise NotImplementedError

    @classmethod
    def encode(cls, model_name: str, payload: Any, model_version: Optional[str] = None) -> InferenceResponse:
        """The old name of `encode_response`."""
        return cls.encode_response(model_name, payload, model_version)

    @classmethod
    def decode(cls, request: InferenceRequest) -> Any:
        """The old name of `decode_request`."""
        return cls.decode_request(request)


InputCodecLike = Union[InputCodec, Type[InputCodec]]
RequestCodecLike = Union[RequestCodec, Type[RequestCodec]]


class Registry:
    """The codecs of one level, in the order in which they were registered."""

    def __init__(self) -> None:
        self._codecs: Dict[str, Any] = {}

    def register(self, content_type: str, codec: Any) -> None:
        """Add a codec; it replaces one of the same content type."""
        self._codecs[content_type] = codec

    def find(self, content_type: Optional[str] = None, payload: Any = None, type_hint: Any = None) -> Any:
        """The codec of a content type, or else the first that takes a payload, or has a type hint; None if none."""
        if content_type:
            return self._codecs.get(content_type)
        if payload is not None:
            return self.of_payload(payload)
        if type_hint is not None:
            return self.of_hint(type_hint)
        return None

    def of_payload(self, payload: Any) -> Any:
        """The first codec that takes a payload."""
        found = [codec for codec in self._codecs.values() if codec.can_encode(payload)]
        if len(found) > 1:
            names = ", ".join(getattr(codec, "__name__", type(codec).__name__) for codec in found)
            logger.debug("several codecs take a payload of %s, the first is taken: %s", type(payload), names)
        return found[0] if found else None

    def of_hint(self, type_hint: Any) -> Any:
        """The first codec with this type hint."""
        return next((codec for codec in self._codecs.values() if codec.TypeHint == type_hint), None)

    @property
    def content_types(self) -> List[str]:
        """What is registered."""
        return list(self._codecs)


input_codecs = Registry()
request_codecs = Registry()

find_input_codec = input_codecs.find
find_input_codec_by_payload = input_codecs.of_payload
find_request_codec = request_codecs.find
find_request_codec_by_payload = request_codecs.of_payload


def register_input_codec(codec: Any) -> Any:
    """Register a class or an object under its content type; a decorator."""
    input_codecs.register(codec.ContentType, codec)
    return codec


def register_request_codec(codec: Any) -> Any:
    """Register a class or an object under its content type; a decorator."""
    request_codecs.register(codec.ContentType, codec)
    return codec
