"""What a model is: the class that model folders derive from."""

from __future__ import annotations

from typing import Any, AsyncIterator, Dict, List, Optional

from mlserver.codecs import (
    decode_inference_request,
    decode_request_input,
    encode_inference_response,
    encode_response_output,
    get_decoded,
    has_decoded,
)
from mlserver.codecs.errors import CodecNotFound
from mlserver.settings import ModelSettings
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)


class MLModel:
    """A model. `load`, `predict`, `predict_stream`, `unload` and `metadata` may be coroutines or plain functions."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._inputs_index = _by_name(settings.inputs)
        self._outputs_index = _by_name(settings.outputs)
        self.ready = False

    async def load(self) -> bool:
        """Make the model ready; whether it is."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request."""
        raise NotImplementedError("predict() method not implemented")

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        """Answer a stream of requests by a stream of responses: the first one, unless overridden."""
        async for payload in payloads:
            yield await self.predict(payload)
            break

    async def unload(self) -> bool:
        """Give up what `load` took; whether it did."""
        return True

    @property
    def name(self) -> str:
        """The model's name."""
        return self._settings.name

    @property
    def version(self) -> Optional[str]:
        """The model's version, if it has one."""
        return self._settings.version

    @property
    def settings(self) -> ModelSettings:
        """The model's settings."""
        return self._settings

    @property
    def inputs(self) -> Optional[List[MetadataTensor]]:
        """The inputs that metadata list; their content types are those of inputs that say none."""
        return self._settings.inputs

    @inputs.setter
    def inputs(self, value: List[MetadataTensor]) -> None:
        self._settings.inputs = value
        self._inputs_index = _by_name(value)

    @property
    def outputs(self) -> Optional[List[MetadataTensor]]:
        """The outputs that metadata list; their content types are those of outputs that say none."""
        return self._settings.outputs

    @outputs.setter
    def outputs(self, value: List[MetadataTensor]) -> None:
        self._settings.outputs = value
        self._outputs_index = _by_name(value)

    def decode(self, request_input: RequestInput, default_codec: Any = None) -> Any:
        """An input's elements, by its content type, that of its metadata, or the default; else its raw data."""
        payload = decode_request_input(request_input, self._inputs_index)
        if has_decoded(request_input):
            return payload
        return default_codec.decode_input(request_input) if default_codec else request_input.data

    def decode_request(self, inference_request: InferenceRequest, default_codec: Any = None) -> Any:
        """A whole request, by its content type, the settings', or the default; else the request itself."""
        decode_inference_request(inference_request, self._settings, self._inputs_index)
        if has_decoded(inference_request):
            return get_decoded(inference_request)
        return default_codec.decode_request(inference_request) if default_codec else inference_request

    def encode_response(self, payload: Any, default_codec: Any = None) -> InferenceResponse:
        """A response that holds `payload`. CodecNotFound where no codec takes it."""
        response = encode_inference_response(payload, self._settings)
        if response is not None:
            return response
        if default_codec is None:
            raise CodecNotFound(payload_type=str(type(payload)), is_input=False, is_request=True)
        return default_codec.encode_response(self.name, payload, self.version)  # type: ignore[no-any-return]

    def encode(self, payload: Any, request_output: RequestOutput, default_codec: Any = None) -> ResponseOutput:
        """An output that holds `payload`. CodecNotFound where no codec takes it."""
        output = encode_response_output(payload, request_output, self._outputs_index)
        if output is not None:
            return output
        if default_codec is None:
            raise CodecNotFound(name=request_output.name, payload_type=str(type(payload)), is_input=False)
        return default_codec.encode_output(request_output.name, payload)  # type: ignore[no-any-return]

    async def metadata(self) -> MetadataModelResponse:
        """What the model says of itself."""
        settings = self._settings
        said = MetadataModelResponse(
            name=self.name, platform=settings.platform, versions=settings.versions, inputs=self.inputs,
            outputs=self.outputs,
        )  # fmt: skip
        if settings.parameters is not None:
            content_type = settings.parameters.content_type
            said.parameters = Parameters(content_type=content_type) if content_type else Parameters()
        return said


def _by_name(tensors: Optional[List[MetadataTensor]]) -> Dict[str, MetadataTensor]:
    return {tensor.name: tensor for tensor in tensors or ()}
