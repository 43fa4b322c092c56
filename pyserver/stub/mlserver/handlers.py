"""Methods that a model has marked with `custom_handler`: which routes they answer, and how."""

from __future__ import annotations

import importlib
import re
from typing import Any, Dict, List, NamedTuple

from pyserver.ipc import envelope
from pyserver.stub.mlserver.answered import Text, dumped
from pyserver.stub.mlserver.arguments import Arguments, Call, RefusedError, noted
from pyserver.stub.mlserver.described import described
from pyserver.stub.response import InferenceResponse

_JSON = "application/json"
_PLACEHOLDER = re.compile(r"{(\w+)(?::\w+)?}")
_UNPROCESSABLE = 422


class Handler(NamedTuple):
    """A method, with what it wants to be given."""

    method: Any
    arguments: Arguments


class Handlers:
    """The handlers of a model, numbered; `routes` is what the server is told of them."""

    def __init__(self, model: Any) -> None:
        self.routes: List[Dict[str, Any]] = []
        self._handlers: List[Handler] = []
        for marked, method in importlib.import_module("mlserver.handlers").get_custom_handlers(model):
            where = f"custom handler {method.__qualname__} of '{marked.rest_path}'"
            wrong = noted(method)
            if wrong is not None:
                raise TypeError(f"{where}: {wrong}")
            if not marked.rest_path.startswith("/"):
                raise ValueError(f"{where}: the path has to begin with '/'")
            names = _PLACEHOLDER.findall(marked.rest_path)
            arguments = Arguments(method, names)
            self._handlers.append(Handler(method, arguments))
            route = {"path": marked.rest_path, "method": marked.rest_method.upper()}
            self.routes.append({**route, "document": described(marked.rest_path, method, arguments)})

    async def answer(self, said: Dict[str, Any], headers: Dict[str, str], body: bytes) -> InferenceResponse:
        """The answer of the handler that `said` (the envelope's `handler`) names; whatever the handler raises."""
        handler = self._handlers[said["number"]]
        try:
            arguments = await handler.arguments.of(Call(headers, said["path"], said["query"], body))
        except RefusedError as error:
            return _response(_UNPROCESSABLE, {}, dumped({"detail": error.details}))
        returned = handler.method(**arguments)
        if hasattr(returned, "__await__"):
            returned = await returned
        return _answer(returned)


def _answer(returned: Any) -> InferenceResponse:
    """A Response (MLServer's, or Starlette's) as it is; anything else as JSON."""
    content = getattr(returned, "body", None)
    status = getattr(returned, "status_code", None)
    if not isinstance(content, bytes) or not isinstance(status, int):
        return _response(200, {}, dumped(returned))
    headers = {str(name).lower(): str(value) for name, value in dict(returned.headers).items()}
    headers.pop("content-length", None)
    if getattr(returned, "media_type", None):
        headers.setdefault("content-type", returned.media_type)
    return _response(status, headers, content)


def _response(status: int, headers: Dict[str, str], content: bytes) -> InferenceResponse:
    headers.setdefault("content-type", _JSON)
    rest = dumped({"status": status, "headers": headers})
    return InferenceResponse([Text("body", content), Text(envelope.NAME, envelope.pack(b"", rest))])
