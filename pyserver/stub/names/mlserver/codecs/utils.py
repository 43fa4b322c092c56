"""Decoding and encoding by content type, and what was decoded."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Optional, Union

from mlserver.codecs.base import (
    InputCodecLike,
    RequestCodec,
    RequestCodecLike,
    find_input_codec,
    find_input_codec_by_payload,
    find_request_codec,
    find_request_codec_by_payload,
    input_codecs,
)
from mlserver.codecs.errors import CodecError
from mlserver.logging import logger
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

DefaultOutputPrefix = "output-"
DefaultInputPrefix = "input-"
DecodedParameterName = "_decoded_payload"

InputOrOutput = Union[RequestInput, ResponseOutput]
Codec = Union[InputCodecLike, RequestCodecLike]
Tensors = Dict[str, MetadataTensor]
_NOTHING: Tensors = {}


def inject_batch_dimension(shape: List[int]) -> List[int]:
    """`[N]` as `[N, 1]`."""
    return list(shape) if len(shape) > 1 else [*shape, 1]


def content_type_of(parametrised: Any, tagged: Any = None) -> Optional[str]:
    """The content type of an object, or else that of what describes it."""
    for found in (parametrised, tagged):
        parameters = getattr(found, "parameters", None)
        if parameters is not None and parameters.content_type:
            return str(parameters.content_type)
    return None


def save_decoded(parametrised: Any, payload: Any) -> None:
    """Remember what an object was decoded to."""
    if parametrised.parameters is None:
        parametrised.parameters = Parameters()
    setattr(parametrised.parameters, DecodedParameterName, payload)


def has_decoded(parametrised_obj: Any) -> bool:
    """Whether the object has been decoded."""
    return parametrised_obj.parameters is not None and hasattr(parametrised_obj.parameters, DecodedParameterName)


def get_decoded(parametrised_obj: Any) -> Any:
    """What the object was decoded to; None if it was not."""
    return getattr(parametrised_obj.parameters, DecodedParameterName, None)


def get_decoded_or_raw(parametrised_obj: Any) -> Any:
    """What the object was decoded to, or else its data, or itself."""
    if has_decoded(parametrised_obj):
        return get_decoded(parametrised_obj)
    return getattr(parametrised_obj, "data", parametrised_obj)


def encode_response_output(
    payload: Any, request_output: RequestOutput, metadata_outputs: Tensors = _NOTHING
) -> Optional[ResponseOutput]:
    """An output in the content type that it is asked in, or that metadata give it, or that fits; None if none does."""
    content_type = content_type_of(request_output, metadata_outputs.get(request_output.name))
    codec = find_input_codec(content_type) if content_type else find_input_codec_by_payload(payload)
    return codec.encode_output(request_output.name, payload) if codec else None


def encode_inference_response(payload: Any, model_settings: Any) -> Optional[InferenceResponse]:
    """A response by the first request codec that takes the payload; None if none does."""
    codec = find_request_codec_by_payload(payload)
    if codec is None:
        return None
    response: InferenceResponse = codec.encode_response(model_settings.name, payload, model_settings.version)
    return response


def decode_request_input(request_input: RequestInput, metadata_inputs: Tensors = _NOTHING) -> Any:
    """The value of an input by its content type, or that of its metadata; None where there is none that is known."""
    content_type = content_type_of(request_input, metadata_inputs.get(request_input.name))
    codec = find_input_codec(content_type)
    if codec is None:
        if content_type and find_request_codec(content_type) is None and content_type not in _COLUMN_TYPES:
            logger.warning(
                "input '%s' has the unknown content type '%s'; known are %s",
                request_input.name, content_type, ", ".join(input_codecs.content_types),
            )  # fmt: skip
        return None
    payload = codec.decode_input(request_input)
    save_decoded(request_input, payload)
    return payload


_COLUMN_TYPES = ("pd_json",)


def decode_inference_request(
    inference_request: InferenceRequest, model_settings: Any = None, metadata_inputs: Tensors = _NOTHING
) -> Any:
    """Decode the inputs, and then the request by its content type, or that of the settings; else the request itself."""
    for request_input in inference_request.inputs:
        decode_request_input(request_input, metadata_inputs)
    codec = find_request_codec(content_type_of(inference_request, model_settings))
    if codec is None:
        return inference_request
    payload = codec.decode_request(inference_request)
    save_decoded(inference_request, payload)
    return payload


class SingleInputRequestCodec(RequestCodec):
    """A request of one input, a response of one output: by the codec `InputCodec`."""

    InputCodec: ClassVar[Any] = None

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether its input codec takes `payload`."""
        return cls.InputCodec is not None and bool(cls.InputCodec.can_encode(payload))

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: Optional[str] = None, **kwargs: Any
    ) -> InferenceResponse:
        """A response of one output, `output-1`."""
        output = cls._codec().encode_output(f"{DefaultOutputPrefix}1", payload, **kwargs)
        parameters = Parameters(content_type=cls.ContentType)
        return InferenceResponse(
            model_name=model_name, model_version=model_version, parameters=parameters, outputs=[output]
        )

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """The value of the only output."""
        return cls._only(response.outputs, "output", "decode_output")

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        """A request of one input, `input-1`."""
        made = cls._codec().encode_input(f"{DefaultInputPrefix}1", payload, **kwargs)
        return InferenceRequest(inputs=[made], parameters=Parameters(content_type=cls.ContentType))

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """The value of the only input."""
        return cls._only(request.inputs, "input", "decode_input")

    @classmethod
    def _codec(cls) -> Any:
        if cls.InputCodec is None:
            raise NotImplementedError(f"No input codec found for {cls} request codec")
        return cls.InputCodec

    @classmethod
    def _only(cls, tensors: List[Any], kind: str, method: str) -> Any:
        if len(tensors) != 1:
            raise CodecError(
                f"The '{cls.ContentType}' codec only supports a single {kind} tensor ({len(tensors)} were received)"
            )
        if not has_decoded(tensors[0]) and cls.InputCodec is not None:
            save_decoded(tensors[0], getattr(cls.InputCodec, method)(tensors[0]))
        return get_decoded_or_raw(tensors[0])
