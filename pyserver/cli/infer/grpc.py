"""Requests over gRPC: tensors as raw contents both ways."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import grpc

from pyserver.cli.infer.options import Options
from pyserver.cli.infer.tensors import finite, of_bytes, to_bytes
from pyserver.errors import invalid, unavailable
from pyserver.proto import inference

METHOD = "/inference.GRPCInferenceService/ModelInfer"
AGAIN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class GrpcTransport:
    """One worker's channel."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._channel = _channel(options)
        self._call = self._channel.unary_unary(
            METHOD, inference.ModelInferRequest.SerializeToString, inference.ModelInferResponse.FromString
        )
        self._metadata = tuple((name.lower(), value) for name, value in options.headers)

    def infer(self, document: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; ServerError UNAVAILABLE where another try may help, another where it won't."""
        request = encoded(document, self._options.model_name)
        metadata = (*self._metadata, ("seldon-puid", document["id"]), ("x-request-id", document["id"]))
        try:
            answer = self._call(request, timeout=self._options.timeout, metadata=metadata)
        except grpc.RpcError as error:
            code, said = error.code(), error.details()
            raise (unavailable if code in AGAIN else invalid)(f"{code.name}: {said}") from None
        return decoded(answer)

    def close(self) -> None:
        """End the channel."""
        self._channel.close()


def _channel(options: Options) -> grpc.Channel:
    if not options.use_ssl:
        return grpc.insecure_channel(options.url, options=UNLIMITED)
    if not options.insecure:
        return grpc.secure_channel(options.url, grpc.ssl_channel_credentials(), options=UNLIMITED)
    # gRPC always verifies: so with the very certificate that the server shows, under the name that it bears.
    host, _, port = options.url.rpartition(":")
    try:
        where = (host, int(port))
        certificate = ssl.get_server_certificate(where, timeout=options.timeout)
        name = _name_in(certificate, where, options.timeout)
    except (OSError, ValueError) as error:
        raise unavailable(f"{options.url}: {error}") from None
    named = [*UNLIMITED, ("grpc.ssl_target_name_override", name)]
    return grpc.secure_channel(options.url, grpc.ssl_channel_credentials(certificate.encode()), options=named)


def _name_in(certificate: str, where: tuple[str, int], timeout: float) -> str:
    """A name that the server's certificate (PEM) is for. OSError where it can't be had.

    Python tells the fields of a certificate that it has verified: so a second time it is met by itself as authority.
    """
    context = ssl.create_default_context(cadata=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    with socket.create_connection(where, timeout) as plain, context.wrap_socket(plain) as secure:
        fields: Any = secure.getpeercert() or {}
    names = [value for kind, value in fields.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    common = [value for group in fields.get("subject", ()) for key, value in group if key == "commonName"]
    return next(iter([*names, *common]), where[0])


def encoded(document: dict[str, Any], model: str) -> inference.ModelInferRequest:
    """A request as its message; ServerError for data of another type."""
    request = inference.ModelInferRequest(model_name=model, id=document["id"])
    _fill(request.parameters, document.get("parameters"))
    for tensor in document["inputs"]:
        made = request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        _fill(made.parameters, tensor.get("parameters"))
        try:
            request.raw_input_contents.append(to_bytes(tensor["datatype"], tensor["data"]))
        except ValueError as error:
            raise invalid(f"input '{tensor['name']}': {error}") from None
    for output in document.get("outputs") or ():
        made_output = request.outputs.add(name=output["name"])
        _fill(made_output.parameters, output.get("parameters"))
    return request


def decoded(answer: inference.ModelInferResponse) -> dict[str, Any]:
    """An answer as its JSON document."""
    document: dict[str, Any] = {"model_name": answer.model_name}
    if answer.model_version:
        document["model_version"] = answer.model_version
    document["parameters"] = _parameters(answer.parameters)
    document["outputs"] = []
    for place, output in enumerate(answer.outputs):
        made: dict[str, Any] = {"name": output.name, "shape": list(output.shape), "datatype": output.datatype}
        if parameters := _parameters(output.parameters):
            made["parameters"] = parameters
        if place < len(answer.raw_output_contents):
            made["data"] = of_bytes(output.datatype, answer.raw_output_contents[place])
        else:
            made["data"] = _typed(output.contents)
        document["outputs"].append(made)
    return document


def _typed(contents: Any) -> list[Any]:
    import numpy as np

    for _, values in contents.ListFields():
        if isinstance(values[0], bytes):
            return [value.decode("utf-8", "replace") for value in values]
        return finite(np.array(values))
    return []


def _fill(target: Any, given: dict[str, Any] | None) -> None:
    """Parameters that a message can have: texts, numbers, truth values."""
    for key, value in (given or {}).items():
        if isinstance(value, bool):
            target[key].bool_param = value
        elif isinstance(value, int):
            target[key].int64_param = value
        elif isinstance(value, float):
            target[key].double_param = value
        elif isinstance(value, str):
            target[key].string_param = value


def _parameters(given: Any) -> dict[str, Any]:
    return {key: getattr(value, value.WhichOneof("parameter_choice") or "string_param") for key, value in given.items()}
