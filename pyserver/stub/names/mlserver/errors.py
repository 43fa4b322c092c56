"""Errors that a model may raise: `status_code` is the HTTP status that the client gets."""

from __future__ import annotations

from typing import Optional


class MLServerError(Exception):
    """The root of all; the client's mistake unless said otherwise."""

    def __init__(self, msg: str, status_code: int = 400) -> None:
        super().__init__(msg)
        self.status_code = status_code


class InvalidModelURI(MLServerError):  # noqa: N818
    """There is nothing at a model's URI."""

    def __init__(self, name: str, model_uri: Optional[str] = None) -> None:
        where = f" ({model_uri})" if model_uri else ""
        super().__init__(f"Invalid URI specified for model {name}{where}", 422)


class ModelNotFound(MLServerError):  # noqa: N818
    """No such model."""

    def __init__(self, name: str, version: Optional[str] = None) -> None:
        which = f" with version {version}" if version is not None else ""
        super().__init__(f"Model {name}{which} not found", 404)


class ModelNotReady(MLServerError):  # noqa: N818
    """Not now."""

    def __init__(self, name: str, version: Optional[str] = None) -> None:
        which = f" with version {version}" if version is not None else ""
        super().__init__(f"Model {name}{which} is not ready yet.", 400)


class InferenceError(MLServerError):
    """An inference failed."""

    def __init__(self, msg: str) -> None:
        super().__init__(f"Invalid request to inference engine: {msg}", 400)


class ModelParametersMissing(MLServerError):  # noqa: N818
    """A model's settings lack its parameters."""

    def __init__(self, model_name: str, reason: str) -> None:
        super().__init__(f"Parameters missing for model {model_name} {reason}", 400)
