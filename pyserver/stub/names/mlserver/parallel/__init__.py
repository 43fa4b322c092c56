"""Errors of MLServer's workers, which model folders may catch."""

from mlserver.parallel.errors import EnvironmentNotFound, WorkerError, WorkerStop

__all__ = ["EnvironmentNotFound", "WorkerError", "WorkerStop"]
