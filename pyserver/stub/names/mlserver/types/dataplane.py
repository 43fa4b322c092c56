"""The types of the data plane: tensors, requests, responses, metadata."""

from __future__ import annotations

from enum import Enum
from typing import Any, Dict, Iterator, List, Optional, Union

import pydantic

from mlserver.types.base import BaseModel


class Datatype(Enum):
    """The datatypes of tensors; the types below keep their text."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


class Parameters(BaseModel):
    """Content type, headers, and whatever else there is."""

    model_config = pydantic.ConfigDict(extra="allow", protected_namespaces=(), use_enum_values=True)

    content_type: Optional[str] = None
    headers: Optional[Dict[str, Any]] = None


class TensorData(pydantic.RootModel[Union[List[Any], Any]]):
    """The elements of a tensor: a list, nested or not, or anything else that JSON has."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return iter(self.root)

    def __getitem__(self, at: Any) -> Any:
        return self.root[at]

    def __len__(self) -> int:
        return len(self.root)


# What pydantic 1 called it; as a field's name pydantic 2 refuses it.
TensorData.__root__ = property(lambda self: self.root)  # type: ignore[attr-defined]


class MetadataServerResponse(BaseModel):
    """About a server."""

    name: str
    version: str
    extensions: List[str]


class MetadataServerErrorResponse(BaseModel):
    """Why there is none."""

    error: str


class MetadataModelErrorResponse(BaseModel):
    """Why there is none."""

    error: str


class MetadataTensor(BaseModel):
    """An input or output as metadata describe it; -1 in `shape` for any size."""

    name: str
    datatype: Datatype
    shape: List[int]
    parameters: Optional[Parameters] = None


class MetadataModelResponse(BaseModel):
    """About a model."""

    name: str
    versions: Optional[List[str]] = None
    platform: str
    inputs: Optional[List[MetadataTensor]] = None
    outputs: Optional[List[MetadataTensor]] = None
    parameters: Optional[Parameters] = None


class RequestInput(BaseModel):
    """An input of a request."""

    name: str
    shape: List[int]
    datatype: Datatype
    parameters: Optional[Parameters] = None
    data: TensorData


class RequestOutput(BaseModel):
    """An output that a request wants."""

    name: str
    parameters: Optional[Parameters] = None


class ResponseOutput(BaseModel):
    """An output of a response."""

    name: str
    shape: List[int]
    datatype: Datatype
    parameters: Optional[Parameters] = None
    data: TensorData


class InferenceRequest(BaseModel):
    """A request."""

    id: Optional[str] = None
    parameters: Optional[Parameters] = None
    inputs: List[RequestInput]
    outputs: Optional[List[RequestOutput]] = None


class InferenceResponse(BaseModel):
    """A response."""

    model_name: str
    model_version: Optional[str] = None
    id: Optional[str] = None
    parameters: Optional[Parameters] = None
    outputs: List[ResponseOutput]


class InferenceErrorResponse(BaseModel):
    """Why there is none."""

    error: Optional[str] = None
