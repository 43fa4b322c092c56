"""The types of the model repository API."""

from __future__ import annotations

from enum import Enum
from typing import List, Optional

import pydantic

from mlserver.types.base import BaseModel


class State(Enum):
    """How far a model is."""

    UNKNOWN = "UNKNOWN"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"


class RepositoryIndexRequest(BaseModel):
    """Which models an index is to list: all, or the ready ones."""

    ready: Optional[bool] = None


class RepositoryIndexResponseItem(BaseModel):
    """A model of an index."""

    name: str
    version: Optional[str] = None
    state: State
    reason: str


class RepositoryIndexResponse(pydantic.RootModel[List[RepositoryIndexResponseItem]]):
    """An index."""


class RepositoryLoadErrorResponse(BaseModel):
    """Why a model was not loaded."""

    error: Optional[str] = None


class RepositoryUnloadErrorResponse(BaseModel):
    """Why a model was not unloaded."""

    error: Optional[str] = None
