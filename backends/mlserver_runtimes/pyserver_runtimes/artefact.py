"""The file that a runtime loads."""

from __future__ import annotations

import os
from typing import Sequence

from mlserver.errors import InvalidModelURI, MLServerError
from mlserver.settings import ModelSettings
from mlserver.utils import get_model_uri


class MissingArtefact(InvalidModelURI):
    """There is no file to load; says which were looked for."""

    def __init__(self, message: str) -> None:
        MLServerError.__init__(self, message, 422)


async def artefact(settings: ModelSettings, names: Sequence[str]) -> str:
    """The path of the model's file: that at its `uri`, or the first of `names` in the folder there. MissingArtefact."""
    wanted = f"a file, or a folder with one of {', '.join(names)}"
    try:
        path = await get_model_uri(settings, list(names))
    except InvalidModelURI:
        uri = settings.parameters.uri if settings.parameters is not None else None
        raise MissingArtefact(f"model '{settings.name}': 'parameters.uri' is '{uri}', expected {wanted}") from None
    if not os.path.isfile(path):
        raise MissingArtefact(f"model '{settings.name}': found nothing to load at '{path}', expected {wanted}")
    return str(path)
