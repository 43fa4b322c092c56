"""The gRPC codec of inference: ModelInferRequest -> `InferRequest`, `InferResponse` -> ModelInferResponse, as bytes."""

from __future__ import annotations

from typing import Any

from pyserver.core import wire
from pyserver.errors import ServerError, invalid, not_found, unsupported
from pyserver.proto import inference as pb
from pyserver.protocol import status
from pyserver.protocol.grpc_parameters import EMPTY_FINAL_RESPONSE, NONE, decode_parameters, own_parameters, wrong_type
from pyserver.types import Buffer, InferRequest, InferResponse, Parameter, RequestedOutput, Tensor

FINAL = "triton_final_response"


class BadRequestError(ServerError):
    """A request that is wrong in itself, with what could be read of it: an unknown model is the graver mistake."""

    def __init__(self, error: ServerError, message: wire.Request) -> None:
        super().__init__(error.code, error.message)
        self.id: str = message.id
        self.model_name: str = message.model_name
        self.model_version: str = message.model_version


def decode(data: bytes) -> InferRequest:
    """The request in `data`; tensors are views of it, or copies where they are small.

    BadRequestError if the request can't be right whatever the model, ServerError if `data` is no such message.
    """
    try:
        message = wire.decode_request(data)
    except ValueError as error:
        raise invalid(f"failed to parse the ModelInferRequest: {error}") from None
    try:
        given = message.parameters
        custom, priority, timeout_us, correlation_id, flags = decode_parameters(given) if given else NONE
        return InferRequest(
            message.model_name, message.model_version, message.id, _inputs(message), _outputs(message.outputs),
            custom or {}, True, False, priority, timeout_us, correlation_id, flags, None,
            bool(given and given.get(EMPTY_FINAL_RESPONSE)),
        )  # fmt: skip
    except ServerError as error:
        raise BadRequestError(error, message) from None


def _inputs(message: wire.Request) -> list[Tensor]:
    """The inputs; whether they have the bytes that their shapes say is for the model's signature to judge."""
    inputs, raw = message.inputs, message.raw
    made = []
    for at, (name, datatype, shape, parameters, contents) in enumerate(inputs):
        own = None if parameters is None else _input_parameters(parameters, name)
        if not raw:
            data = _explicit(message, name, datatype, contents)
        elif contents is None and at < len(raw):
            data = raw[at]
        else:
            raise _raw_error(message, name, contents)
        made.append(Tensor(name, datatype, shape, data, own))
    return made


def _raw_error(message: wire.Request, name: str, contents: wire.Contents | None) -> ServerError:
    where = f"'{name}' for model '{message.model_name}'"
    if contents is not None:
        return invalid(f"contents field must not be specified when using raw_input_contents for {where}")
    return invalid(
        f"unable to find data for input tensor {where} in request. "
        f"It has {len(message.inputs)} inputs and {len(message.raw)} raw_input_contents."
    )


def _explicit(message: wire.Request, name: str, datatype: str, contents: wire.Contents | None) -> Buffer:
    """The elements of typed contents in raw layout. FP16 and BF16 have no typed form."""
    if contents is None:
        return b""
    where = f"for input tensor '{name}' for model '{message.model_name}'"
    if not contents.fits(datatype):
        raise invalid(
            f"unexpected explicit tensor data {where} of type '{contents.datatype}', expected datatype '{datatype}'"
        )
    try:
        data: bytes = contents.raw(datatype)
    except ValueError as error:
        raise invalid(f"unexpected explicit tensor data {where}: {error}") from None
    return data


def _input_parameters(given: dict[str, Any], name: str) -> dict[str, Parameter]:
    if "shared_memory_region" in given:
        raise _no_region(given, f"input '{name}'")
    return own_parameters(given)


def _outputs(given: list[Any]) -> list[RequestedOutput] | None:
    """The outputs asked for; None for all. Of two of one name the first holds, as in Triton."""
    if len(given) == 1 and given[0][1] is None:
        return [RequestedOutput(given[0][0], True)]
    outputs: dict[str, RequestedOutput] = {}
    for name, parameters in given:
        own = None if parameters is None else _output_parameters(parameters, name)
        outputs.setdefault(name, RequestedOutput(name, True, own))
    return list(outputs.values()) or None


def _output_parameters(given: dict[str, Any], name: str) -> dict[str, Parameter]:
    where = f"output '{name}'"
    if "classification" in given:
        if type(given["classification"]) is not int:
            raise wrong_type("classification", "int64_param", where)
        raise unsupported(f"the classification extension is not supported: asked for of {where}")
    if "shared_memory_region" in given:
        raise _no_region(given, where)
    return own_parameters(given)


def _no_region(given: dict[str, Any], where: str) -> ServerError:
    region = given["shared_memory_region"]
    if not isinstance(region, str):
        return wrong_type("shared_memory_region", "string_param", where)
    return not_found(f"Unable to find shared memory region: '{region[:64]}' of {where}")


def _refused(message: wire.Request, text: str) -> ServerError:
    return invalid(f"[request id: {message.id or '<id_unknown>'}] {text}")


def encode(response: InferResponse) -> bytes:
    """A ModelInferResponse: every output's bytes in `raw_output_contents`, in the order of `outputs`."""
    tensors = []
    raw = []
    for output in response.outputs:
        tensors.append((output.name, output.datatype, output.shape, output.parameters))
        raw.append(output.data)
    return wire.encode_response(
        response.model_name, response.model_version, response.id, response.parameters, tensors, raw
    )


def encode_stream(response: InferResponse, final: bool) -> bytes:
    """A ModelStreamInferResponse with an answer; `final` says that it is the last one to its request."""
    parameters = {**(response.parameters or {}), FINAL: final}
    tensors = [(output.name, output.datatype, output.shape, output.parameters) for output in response.outputs]
    raw = [output.data for output in response.outputs]
    return wire.encode_response(
        response.model_name, response.model_version, response.id, parameters, tensors, raw, streamed=True
    )


def encode_stream_item(item: tuple[InferResponse, bool]) -> bytes:
    """`encode_stream` of one of the items of a stream."""
    return encode_stream(*item)


def encode_stream_error(error: ServerError, id: str, model: tuple[str, str] | None = None, final: bool = True) -> bytes:
    """A ModelStreamInferResponse with an error. `model` (name, version) is None for a request that was refused at once;
    otherwise `final` says whether the error is the last answer to its request.
    """
    head: bytes = pb.ModelStreamInferResponse(error_message=status.told(error.message)).SerializeToString()
    name, version = model or ("", "")
    answer = wire.encode_response(name, version, id, {FINAL: final} if model else None, [], [], True)
    return head + answer
