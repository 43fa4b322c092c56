"""gRPC's messages -> types, and back. Any messages with the protocol's fields serve."""

from __future__ import annotations

import struct
from typing import Any, Dict, List

import numpy as np

from mlserver.codecs.lists import as_list, flattened
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
_DTYPES = {
    "BOOL": "?", "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "UINT16": "u2",
    "UINT32": "u4", "UINT64": "u8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip
_LENGTH = struct.Struct("<I")


class InferParameterConverter:
    """One parameter."""

    @classmethod
    def to_types(cls, pb_object: Any) -> Any:
        """Its value."""
        choice = pb_object.WhichOneof("parameter_choice")
        return None if choice is None else getattr(pb_object, choice)

    @classmethod
    def from_types(cls, type_object: Any) -> Any:
        """A message; TypeError for what a parameter can't be."""
        kinds = {bool: "bool_param", int: "int64_param", str: "string_param"}
        return pb.InferParameter(**{kinds[type(type_object)]: type_object})


class ParametersConverter:
    """A map of parameters."""

    @classmethod
    def to_types(cls, pb_object: Any) -> Parameters:
        """The parameters."""
        return Parameters(**{key: InferParameterConverter.to_types(value) for key, value in pb_object.items()})

    @classmethod
    def from_types(cls, type_object: Parameters) -> Dict[str, Any]:
        """The map; what a parameter can't be is left out."""
        said = {**type_object.model_dump(), **(type_object.model_extra or {})}
        return {
            key: InferParameterConverter.from_types(value)
            for key, value in said.items()
            if type(value) in (bool, int, str)
        }


class InferTensorContentsConverter:
    """Typed contents."""

    @classmethod
    def to_types(cls, pb_object: Any) -> List[Any]:
        """The elements of the field that has some."""
        for _, values in pb_object.ListFields():
            return list(values)
        return []

    @classmethod
    def from_types(cls, type_object: Any, datatype: str) -> Any:
        """The contents of a datatype."""
        return pb.InferTensorContents(**{_CONTENTS[datatype]: _elements(type_object, datatype)})


def _elements(data: Any, datatype: str) -> List[Any]:
    found = flattened(list(as_list(data)))
    return [item.encode() if isinstance(item, str) else item for item in found] if datatype == "BYTES" else found


def packed(data: Any, datatype: str) -> bytes:
    """Elements as raw contents."""
    elements = _elements(data, datatype)
    if datatype == "BYTES":
        return b"".join(_LENGTH.pack(len(item)) + item for item in elements)
    return np.array(elements, _DTYPES[datatype]).tobytes()


def unpacked(raw: bytes, datatype: str) -> List[Any]:
    """The elements in raw contents."""
    if datatype != "BYTES":
        return np.frombuffer(raw, _DTYPES[datatype]).tolist()  # type: ignore[no-any-return]
    elements, at = [], 0
    while at < len(raw):
        (size,) = _LENGTH.unpack_from(raw, at)
        elements.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return elements


class InferInputTensorConverter:
    """An input."""

    @classmethod
    def to_types(cls, pb_object: Any) -> RequestInput:
        """The input."""
        return _tensor_to_types(RequestInput, pb_object)  # type: ignore[no-any-return]

    @classmethod
    def from_types(cls, type_object: RequestInput, use_raw: bool = False) -> Any:
        """The message."""
        return pb.ModelInferRequest.InferInputTensor(**_tensor_fields(type_object, use_raw))


class InferOutputTensorConverter:
    """An output."""

    @classmethod
    def to_types(cls, pb_object: Any) -> ResponseOutput:
        """The output."""
        return _tensor_to_types(ResponseOutput, pb_object)  # type: ignore[no-any-return]

    @classmethod
    def from_types(cls, type_object: ResponseOutput, use_raw: bool = False) -> Any:
        """The message."""
        return pb.ModelInferResponse.InferOutputTensor(**_tensor_fields(type_object, use_raw))


class InferRequestedOutputTensorConverter:
    """An output that is asked for."""

    @classmethod
    def to_types(cls, pb_object: Any) -> RequestOutput:
        """The output."""
        return RequestOutput(name=pb_object.name, parameters=ParametersConverter.to_types(pb_object.parameters))

    @classmethod
    def from_types(cls, type_object: RequestOutput) -> Any:
        """The message."""
        return pb.ModelInferRequest.InferRequestedOutputTensor(
            name=type_object.name, parameters=_parameters(type_object)
        )


def _tensor_to_types(kind: Any, message: Any) -> Any:
    return kind(
        name=message.name,
        shape=list(message.shape),
        datatype=message.datatype,
        parameters=ParametersConverter.to_types(message.parameters),
        data=InferTensorContentsConverter.to_types(message.contents),
    )


def _parameters(parametrised: Any) -> Any:
    return {} if parametrised.parameters is None else ParametersConverter.from_types(parametrised.parameters)


def _tensor_fields(tensor: Any, use_raw: bool) -> Dict[str, Any]:
    fields = {
        "name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype, "parameters": _parameters(tensor),
    }  # fmt: skip
    if not use_raw:
        fields["contents"] = InferTensorContentsConverter.from_types(tensor.data, tensor.datatype)
    return fields


class ModelInferRequestConverter:
    """A whole request."""

    @classmethod
    def to_types(cls, pb_object: Any) -> InferenceRequest:
        """The request."""
        inputs = [InferInputTensorConverter.to_types(found) for found in pb_object.inputs]
        _fill_raw(inputs, pb_object.raw_input_contents)
        request = InferenceRequest(
            id=pb_object.id, parameters=ParametersConverter.to_types(pb_object.parameters), inputs=inputs
        )
        if pb_object.outputs:
            request.outputs = [InferRequestedOutputTensorConverter.to_types(found) for found in pb_object.outputs]
        return request

    @classmethod
    def from_types(
        cls, type_object: InferenceRequest, model_name: str, model_version: Any = None, use_raw: bool = False
    ) -> Any:
        """The message."""
        message = pb.ModelInferRequest(
            model_name=model_name,
            model_version=model_version or "",
            id=type_object.id or "",
            parameters=_parameters(type_object),
            inputs=[InferInputTensorConverter.from_types(found, use_raw) for found in type_object.inputs],
            outputs=[InferRequestedOutputTensorConverter.from_types(found) for found in type_object.outputs or ()],
        )
        if use_raw:
            message.raw_input_contents.extend(packed(found.data, found.datatype) for found in type_object.inputs)  # type: ignore[arg-type]
        return message


class ModelInferResponseConverter:
    """A whole response."""

    @classmethod
    def to_types(cls, pb_object: Any) -> InferenceResponse:
        """The response."""
        outputs = [InferOutputTensorConverter.to_types(found) for found in pb_object.outputs]
        _fill_raw(outputs, pb_object.raw_output_contents)
        return InferenceResponse(
            model_name=pb_object.model_name,
            model_version=pb_object.model_version,
            id=pb_object.id,
            parameters=ParametersConverter.to_types(pb_object.parameters),
            outputs=outputs,
        )

    @classmethod
    def from_types(cls, type_object: InferenceResponse, use_raw: bool = False) -> Any:
        """The message."""
        message = pb.ModelInferResponse(
            model_name=type_object.model_name,
            model_version=type_object.model_version or "",
            id=type_object.id or "",
            parameters=_parameters(type_object),
            outputs=[InferOutputTensorConverter.from_types(found, use_raw) for found in type_object.outputs],
        )
        if use_raw:
            message.raw_output_contents.extend(packed(found.data, found.datatype) for found in type_object.outputs)  # type: ignore[arg-type]
        return message


def _fill_raw(tensors: List[Any], raw: Any) -> None:
    """Give the raw contents, in order, to the tensors that have no typed ones."""
    rest = iter(raw)
    for tensor in tensors:
        if not list(tensor.data):
            piece = next(rest, None)
            if piece is not None:
                tensor.data = type(tensor.data)(unpacked(piece, tensor.datatype))
