"""`ModelRepository`, which model repositories of one's own derive from."""

from mlserver.repository.repository import ModelRepository

__all__ = ["ModelRepository"]
