"""The registry of models, of which there is one in a model's process: itself; the server has the others."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from mlserver.errors import ModelNotFound


def model_initialiser(model_settings: Any) -> Any:
    """The model that settings describe, not loaded."""
    return model_settings.implementation(model_settings)


class MultiModelRegistry:
    """Models by name that a model, or a test, loads itself."""

    def __init__(self, model_initialiser: Any = model_initialiser, **hooks: Any) -> None:
        self._initialiser = model_initialiser
        self._models: Dict[str, Any] = {}

    async def load(self, model_settings: Any) -> Any:
        """Make and load a model; one of its name goes."""
        model = self._initialiser(model_settings)
        model.ready = await model.load()
        before = self._models.get(model_settings.name)
        self._models[model_settings.name] = model
        if before is not None:
            await before.unload()
        return model

    async def unload(self, name: str) -> None:
        """Unload a model. ModelNotFound where there is none."""
        model = await self.get_model(name)
        model.ready = False
        del self._models[name]
        await model.unload()

    async def get_model(self, name: str, version: Optional[str] = None) -> Any:
        """A loaded model. ModelNotFound where there is none."""
        model = self._models.get(name)
        if model is None or (version and model.version != version):
            raise ModelNotFound(name, version)
        return model

    async def get_models(self, name: Optional[str] = None) -> List[Any]:
        """All that are loaded, or that of a name."""
        return list(self._models.values()) if name is None else [await self.get_model(name)]
