"""The gRPC codec of inference: ModelInferRequest -> `InferRequest`, `InferResponse` -> ModelInferResponse, as bytes."""

from __future__ import annotations

from typing import Any

from pyserver.core import wire
from pyserver.errors import ServerError, invalid
from pyserver.ipc.envelope import NAME as ENVELOPE
from pyserver.proto import inference as pb
from pyserver.protocol import mlserver_grpc, status
from pyserver.protocol.grpc_extension import REGION, decode_outputs, decode_place, own_parameters
from pyserver.protocol.grpc_parameters import EMPTY_FINAL_RESPONSE, NONE, decode_parameters
from pyserver.types import Buffer, InferRequest, InferResponse, Part, Tensor

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
        inputs, places = _inputs(message)
        listed = message.outputs
        outputs, extension = decode_outputs(listed, places) if listed or places else (None, None)
        return InferRequest(
            message.model_name, message.model_version, message.id, inputs, outputs,
            custom or {}, bool(message.raw), False, priority, timeout_us, correlation_id, flags, None,
            bool(given and given.get(EMPTY_FINAL_RESPONSE)), extension,
        )  # fmt: skip
    except ServerError as error:
        raise BadRequestError(error, message) from None


def _inputs(message: wire.Request) -> tuple[list[Tensor], dict[int, Part] | None]:
    """The inputs, and which of them lie in shared memory, by position; None for none.

    Whether they have the bytes that their shapes say is for the model's signature to judge.
    """
    raw = message.raw
    made: list[Tensor] = []
    places: dict[int, Part] | None = None
    at = 0
    data: Buffer
    for name, datatype, shape, parameters, contents in message.inputs:
        own = None
        if parameters is not None:
            if REGION in parameters:
                places = {} if places is None else places
                places[len(made)] = _place(message, name, parameters, contents)
                made.append(Tensor(name, datatype, shape, b"", own_parameters(parameters)))
                continue
            own = own_parameters(parameters)
        if not raw:
            data = _explicit(message, name, datatype, contents)
        elif contents is None and at < len(raw):
            data = raw[at]
            at += 1
        else:
            raise _raw_error(message, name, contents)
        made.append(Tensor(name, datatype, shape, data, own))
    return made, places


def _place(message: wire.Request, name: str, given: dict[str, Any], contents: wire.Contents | None) -> Part:
    """Where an input lies. It takes none of the raw contents, and may have none of its own."""
    if contents is not None:
        raise invalid(
            "unexpected 'content' provided when using shared memory for input tensor "
            f"'{name}' for model '{message.model_name}'"
        )
    return decode_place(given, f"input '{name}'")


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


def encode(response: InferResponse) -> bytes:
    """A ModelInferResponse: every output's bytes in `raw_output_contents`, in the order of `outputs`.

    MLServer's models answer in typed contents who asks in typed contents.
    """
    outputs = response.outputs
    if outputs and outputs[-1].name == ENVELOPE:
        return mlserver_grpc.encode(response)
    tensors = []
    raw = []
    for output in outputs:
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
    """`encode_stream` of one of the items of a stream; `encode` of it, where an MLServer model made it."""
    outputs = item[0].outputs
    if outputs and outputs[-1].name == ENVELOPE:
        return mlserver_grpc.encode(item[0])
    return encode_stream(*item)


def encode_stream_error(error: ServerError, id: str, model: tuple[str, str] | None = None, final: bool = True) -> bytes:
    """A ModelStreamInferResponse with an error. `model` (name, version) is None for a request that was refused at once;
    otherwise `final` says whether the error is the last answer to its request.
    """
    head: bytes = pb.ModelStreamInferResponse(error_message=status.told(error.message)).SerializeToString()
    name, version = model or ("", "")
    answer = wire.encode_response(name, version, id, {FINAL: final} if model else None, [], [], True)
    return head + answer
