"""What MLServer's workers raise; here a model's process is watched by the server, and nothing raises these."""

from __future__ import annotations

from mlserver.errors import MLServerError


class EnvironmentNotFound(MLServerError):  # noqa: N818
    """An environment is not there."""

    def __init__(self, env_hash: str) -> None:
        super().__init__(f"Environment with hash '{env_hash}' was not found", 500)


class WorkerError(MLServerError):
    """Something failed in a worker."""

    def __init__(self, exc: BaseException) -> None:
        kind = type(exc)
        super().__init__(f"{kind.__module__}.{kind.__qualname__}: {exc}", getattr(exc, "status_code", 500))


class WorkerStop(MLServerError):  # noqa: N818
    """A worker has ended."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"Worker process stopped unexpectedly with exit code {exit_code}.", 500)
