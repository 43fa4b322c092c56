"""Small helpers that model folders import."""

from __future__ import annotations

import asyncio
import os
import urllib.parse
import uuid
from typing import Any, Callable, Coroutine, Dict, List, Optional

from mlserver.errors import InvalidModelURI
from mlserver.settings import ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse, Parameters


async def get_model_uri(settings: ModelSettings, wellknown_filenames: Optional[List[str]] = None) -> str:
    """Where the model's artefact is: a URI as it is, a file, the first of the well-known files in a folder, the folder.

    InvalidModelURI if there is none, or nothing there.
    """
    uri = None if settings.parameters is None else settings.parameters.uri
    if not uri:
        raise InvalidModelURI(settings.name)
    parsed = urllib.parse.urlparse(uri, scheme="file")
    if parsed.scheme != "file":
        return uri
    path = to_absolute_path(settings, parsed.path)
    if os.path.isdir(path):
        candidates = [os.path.join(path, name) for name in wellknown_filenames or []]
        return next((file for file in candidates if os.path.isfile(file)), path)
    if os.path.isfile(path):
        return path
    raise InvalidModelURI(settings.name, path)


def to_absolute_path(model_settings: ModelSettings, uri: str) -> str:
    """`uri`, relative to the folder of the settings' file where there is one."""
    source = model_settings._source
    return uri if source is None else os.path.normpath(os.path.join(os.path.dirname(source), uri))


def get_wrapped_method(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind its decorators."""
    while hasattr(f, "__wrapped__"):
        f = f.__wrapped__
    return f


def generate_uuid() -> str:
    """A random id."""
    return str(uuid.uuid4())


def insert_headers(inference_request: InferenceRequest, headers: Dict[str, str]) -> InferenceRequest:
    """Set the request's headers."""
    if inference_request.parameters is None:
        inference_request.parameters = Parameters()
    inference_request.parameters.headers = headers
    return inference_request


def extract_headers(inference_response: InferenceResponse) -> Optional[Dict[str, str]]:
    """Take the response's headers out of it."""
    parameters = inference_response.parameters
    if parameters is None or parameters.headers is None:
        return None
    headers, parameters.headers = parameters.headers, None
    return headers


def schedule_with_callback(coro: Coroutine[Any, Any, Any], cb: Callable[[Any], Any]) -> Any:
    """Begin a task, and call `cb` with it when it is done."""
    task = asyncio.create_task(coro)
    task.add_done_callback(cb)
    return task
