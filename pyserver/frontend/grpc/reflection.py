"""grpc.reflection, v1 and v1alpha: our services and their messages, for tools that know none of them (grpcurl)."""

from __future__ import annotations

from typing import Any

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.grpc.engine import Stream, StreamMethod
from pyserver.proto import pool
from pyserver.proto import reflection as pb
from pyserver.protocol import grpc_messages as messages
from pyserver.protocol import status

SERVICES = ("inference.GRPCInferenceService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection")
PATHS = tuple(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha"))


def methods() -> list[StreamMethod]:
    """ServerReflectionInfo, of both versions."""
    return [StreamMethod(path, _serve) for path in PATHS]


async def _serve(stream: Stream) -> None:
    async for message in stream:
        try:
            made = answer(message)
        except ServerError as error:
            await stream.abort(status.GRPC[error.code], error.message)
            return
        await stream.write(made)


def answer(message: bytes) -> bytes:
    """The ServerReflectionResponse to a ServerReflectionRequest. ServerError for what is none."""
    request = messages.parse(pb.ServerReflectionRequest, message)
    made = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
    asked = request.WhichOneof("message_request")
    try:
        if asked == "list_services":
            for name in SERVICES:
                made.list_services_response.service.add(name=name)
        elif asked == "file_by_filename":
            _describe(made, pool.pool().FindFileByName(request.file_by_filename))
        elif asked == "file_containing_symbol":
            _describe(made, _file_of(request.file_containing_symbol))
        elif asked == "all_extension_numbers_of_type":
            pool.pool().FindMessageTypeByName(request.all_extension_numbers_of_type)
            made.all_extension_numbers_response.base_type_name = request.all_extension_numbers_of_type
        elif asked == "file_containing_extension":
            raise KeyError(asked)
        else:
            _refuse(made, ErrorCode.INVALID_ARG, "expected one of the fields of message_request")
    except KeyError:
        _refuse(made, ErrorCode.NOT_FOUND, "the server knows no such file, symbol or extension")
    encoded: bytes = made.SerializeToString()
    return encoded


def _file_of(symbol: str) -> Any:
    """The file that a symbol is defined in. The pool knows a service's methods under another name. KeyError."""
    try:
        return pool.pool().FindFileContainingSymbol(symbol)
    except KeyError:
        service, _, method = symbol.rpartition(".")
        found = pool.pool().FindServiceByName(service)
        return found.methods_by_name[method].containing_service.file


def _describe(made: Any, file: Any) -> None:
    """Add a file and what it imports, each once."""
    seen: set[str] = set()
    waiting = [file]
    while waiting:
        each = waiting.pop()
        if each.name not in seen:
            seen.add(each.name)
            made.file_descriptor_response.file_descriptor_proto.append(each.serialized_pb)
            waiting.extend(each.dependencies)


def _refuse(made: Any, code: ErrorCode, message: str) -> None:
    made.error_response.error_code = status.GRPC[code]
    made.error_response.error_message = message
