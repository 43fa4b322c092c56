"""What a model repository is: a list of models' settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, List, Optional

from mlserver.settings import ModelSettings


class ModelRepository(ABC):
    """A repository; `root` and the arguments of the settings are given to its constructor."""

    def __init__(self, root: Optional[str] = None, **kwargs: Any) -> None:
        self._root = root

    @abstractmethod
    async def list(self) -> List[ModelSettings]:
        """The settings of all models."""

    @abstractmethod
    async def find(self, name: str) -> List[ModelSettings]:
        """The settings of all versions of a model. ModelNotFound if there is none."""
